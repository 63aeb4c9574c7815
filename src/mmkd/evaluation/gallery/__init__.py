"""Images for the report: errors, examples, and the scores they are chosen by."""
