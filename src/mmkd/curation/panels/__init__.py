"""Compound figures, split into panels where image and caption agree."""
