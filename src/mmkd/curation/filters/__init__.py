"""Which records are not wanted: a table of named filters, all off until a recipe sets them."""
