"""What is trained on frozen embeddings."""
