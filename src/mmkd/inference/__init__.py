"""Models at work: pictures out of any source, and their vectors, whichever library computes them."""
