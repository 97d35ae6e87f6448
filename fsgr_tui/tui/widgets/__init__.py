"""What the places are made of. A widget gets values and draws them; it knows no service."""
