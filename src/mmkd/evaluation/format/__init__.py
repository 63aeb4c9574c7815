"""What an evaluation reads and writes: settings, predictions, results."""
