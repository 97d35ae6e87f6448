"""What a foreign program's output tells of its progress: a terminal-faithful reader, parsers, TensorBoard."""
