"""The table of stages, recipes, runs, their state and their cost."""
