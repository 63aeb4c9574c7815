"""The one interface of all teachers."""
