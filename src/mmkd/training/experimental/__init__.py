"""Levers that docs/recipe.md found idle or harmful, selectable and off by default: for comparison, not for use."""
