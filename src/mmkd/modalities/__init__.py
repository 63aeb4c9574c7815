"""The modalities: their names, and how captions mention them."""
