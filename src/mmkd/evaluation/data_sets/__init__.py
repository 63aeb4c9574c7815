"""Data sets opened for evaluation, and checks of their cards."""
