"""Weights and configs of models on disk."""
