"""Which images of the evaluation were seen in training: exact and near copies, in the corpus and between splits."""
