"""Leakage: exact and near copies of evaluation images in the training corpus and between splits."""
