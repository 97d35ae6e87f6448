"""Use cases that the command line and the screen share."""
