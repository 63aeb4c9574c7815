"""The stage `evidence`: what teachers' features say of the modality of each image."""
