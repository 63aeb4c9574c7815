"""What the service computes: pictures in batches, answers, limits. HTTP, the page and the tools call it alike."""
