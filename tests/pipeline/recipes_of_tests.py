"""The smallest recipe, which tests add to."""

MINIMAL = """
name = "mini"
[curate]
[[curate.sources]]
kind = "table"
path = "pairs.csv"
[[teachers]]
name = "one"
model = "local-dir:models/one"
[student]
model = "ViT-B-16"
[distill]
epochs = 7
[distill.augment]
shift = 0.1
noise = 0.2
[evaluate]
cards = ["${out}/card.toml"]
"""
