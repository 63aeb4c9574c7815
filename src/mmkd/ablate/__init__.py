"""One factor at a time around a default recipe: variants, runs that share what is equal, and what they show."""
