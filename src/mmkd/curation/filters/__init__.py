"""Which pairs are kept: a table of named filters, all off until a recipe sets them, and the decision."""
