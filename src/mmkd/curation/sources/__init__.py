"""Sources of image-caption pairs: one module per kind, all yielding the records of `curation.records`."""
