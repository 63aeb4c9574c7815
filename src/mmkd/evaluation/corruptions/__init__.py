"""Pictures made worse in the ways of acquisition and storage, to see how much of a model's accuracy they leave."""
