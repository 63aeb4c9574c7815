"""Image-caption pairs on disk: the columns of a corpus, its splits, the modalities."""
