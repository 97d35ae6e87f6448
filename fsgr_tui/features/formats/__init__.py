"""The formats that features are converted between: one module a format, one protocol for all."""
