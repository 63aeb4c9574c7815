"""Levers that docs/results/ablations.md found idle or harmful, off by default: for comparison, not for use."""
