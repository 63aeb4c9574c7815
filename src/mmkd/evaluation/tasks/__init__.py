"""The tasks that models are evaluated on: a file for each, and a line in `table`."""
