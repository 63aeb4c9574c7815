"""Pictures: decoding, DICOM, slides, thumbnails, perceptual hashes, near duplicates."""
