"""From predictions to claims: numbers with intervals, differences, rankings, marks."""
