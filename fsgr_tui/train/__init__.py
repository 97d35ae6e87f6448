"""The two data paths and the reference captioner. Imports torch; run as `python -m fsgr_tui.train`."""
