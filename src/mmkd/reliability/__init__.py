"""Teacher reliability by modality: rank tests, weights, temperatures, and the posterior of captions being right."""
