"""A corpus in the layouts of other training programs."""
