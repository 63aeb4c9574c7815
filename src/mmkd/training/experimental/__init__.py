"""Levers that docs/results/ablations.md found idle, harmful or not yet decided, all off by default."""
