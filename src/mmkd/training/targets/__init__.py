"""What the student follows: the teachers' features, weights and scales."""
