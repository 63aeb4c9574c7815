"""mmkd: many biomedical CLIP teachers distilled into one student that is better than each of them."""

__version__ = "0.2.0"
