"""Images to tokens to feature file. Imports torch and open_clip; run as `python -m fsgr_tui.extract`."""
