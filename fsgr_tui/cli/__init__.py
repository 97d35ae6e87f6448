"""The command line: one file per command; prints what a service returns."""
