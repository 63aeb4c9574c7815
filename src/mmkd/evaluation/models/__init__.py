"""Models and encoders that know nothing, and what they make of images and texts."""
