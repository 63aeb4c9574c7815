"""The embedded world: small drawn images of nine modalities with captions, to run the whole system without data."""
