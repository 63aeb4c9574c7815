"""Zero-shot classification and retrieval of teachers and students: predictions first, then results with intervals."""
