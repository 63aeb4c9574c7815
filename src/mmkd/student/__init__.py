"""Building, transforming, saving and exporting the student."""
