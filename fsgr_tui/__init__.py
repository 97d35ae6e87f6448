"""Plan, extract, check and train on CLIP grid features for image captioning."""

__version__ = "0.1.0"
