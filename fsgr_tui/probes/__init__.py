"""What is here: readings of disk, GPU, host and data set, returned as core values."""
