"""Losses, objectives and the loop of both training stages."""
