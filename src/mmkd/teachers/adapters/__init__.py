"""One file per library that a teacher may come from: how its network is built, filled and called."""
