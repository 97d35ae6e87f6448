"""Jobs in Slurm: submitting, watching, cancelling, and what runs on the node."""
