"""Image-caption pairs: sources, cleaning, splits and the corpus folder."""
