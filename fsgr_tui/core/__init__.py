"""What is true: pure facts, arithmetic and decisions. Standard library and msgspec only."""
