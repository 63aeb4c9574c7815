"""What a training writes: metrics, curves and checkpoints."""
