"""What is in a corpus, what is not, and why: read from its folder batch by batch."""
