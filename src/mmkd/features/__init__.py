"""The aligned feature folders, one per teacher."""
