"""Captions made ready for training; the original stays beside them."""
