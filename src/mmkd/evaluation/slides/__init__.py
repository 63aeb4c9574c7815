"""Whole slides: cut into tiles, kept as bags of tile features, classified, and shown with what a model attended to."""
