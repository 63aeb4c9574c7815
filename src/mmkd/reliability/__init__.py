"""How far, and in which units, each teacher is to be trusted."""
