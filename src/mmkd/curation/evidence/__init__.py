"""What says which modality an image is of, and how much it is to be believed."""
