"""Models and null models, and their embeddings of images and texts."""
