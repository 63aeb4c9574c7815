"""Records as sources yield them."""
