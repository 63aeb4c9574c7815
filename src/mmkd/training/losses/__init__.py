"""The losses, as pure functions of embeddings: one value a pair; no rank, no weight, no state."""
