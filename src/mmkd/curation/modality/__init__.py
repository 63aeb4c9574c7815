"""The modality of an image, estimated from what its source, its labels and its caption say."""
