"""Frozen CLIP teachers and the extraction of their features."""
