"""What lies on disk: stage folders and their manifests, Arrow folders, locks, paths."""
