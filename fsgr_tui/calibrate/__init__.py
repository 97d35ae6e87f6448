"""Measures this machine's rates with the real code. Imports torch; run as `python -m fsgr_tui.calibrate`."""
