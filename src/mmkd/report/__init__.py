"""The results of a run as one HTML page that opens without a network."""
