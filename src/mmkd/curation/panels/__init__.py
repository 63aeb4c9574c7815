"""Compound figures: found, and taken apart where picture and caption agree on the parts."""
