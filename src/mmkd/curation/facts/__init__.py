"""What is known of a record: its text, its pairs and their images; each fact is worked out on first use."""
