"""The student in the formats of other tools, one file and one row of a table for each, and their checks."""
