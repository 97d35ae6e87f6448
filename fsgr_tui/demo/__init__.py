"""A small COCO-shaped data set to try things on; needs Pillow and numpy; run as a child by name, never imported."""
