"""Where image-caption pairs come from: one module per kind of source, all yielding the records of `corpus.records`."""
