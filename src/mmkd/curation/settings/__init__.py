"""The recipe section [curate]."""
