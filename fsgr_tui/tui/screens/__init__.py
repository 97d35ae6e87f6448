"""The places of the screen, and the questions that are asked on top of them."""
