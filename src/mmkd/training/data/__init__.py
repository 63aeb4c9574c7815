"""The order of pairs, batches, tokens and augmentation."""
