"""Adapting a model to a table of labels: few-shot classifiers on stored vectors, LoRA of the image tower."""
