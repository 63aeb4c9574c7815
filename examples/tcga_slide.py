# %% [markdown]
# # Texts over a whole slide
#
# A slide is cut into tiles, each tile gets a vector, and a text is compared with all of them. It needs a slide:
# `MMKD_REALDATA` is a folder with `wsi/svs/*.svs`, such as the open slides of TCGA. `MMKD_MODEL` is the model; without
# it the demo's student is taken, **which has seen drawn pictures only: its map shows how this works, nothing else.**

# %%
import os
from pathlib import Path

slides = sorted(Path(os.environ.get("MMKD_REALDATA", "slides")).glob("wsi/svs/TCGA-*.svs"))
if not slides:
    raise SystemExit("no slide found: set MMKD_REALDATA to a folder that has wsi/svs/TCGA-*.svs, and run again")
slides[0].name

# %% [markdown]
# Tiles of 224 pixels at 0.5 micrometres a pixel that show tissue, at most 300 of them, evenly spread. Headers of many
# TCGA files do not say their resolution; `slide_mpp` does. Leave it out where they do.

# %%
import numpy as np

import mmkd
from mmkd.images.slide_tiles import Tiles, tile_slide

tiles = tile_slide(slides[0], Tiles(side=224, mpp=0.5, most=300, slide_mpp=0.5))
model = mmkd.load(os.environ.get("MMKD_MODEL", "runs/demo/export"))
vectors = model.embed_images([tile.read() for tile in tiles])
len(tiles), vectors.shape

# %% [markdown]
# The cosine of each tile with a text, less its mean over the slide:

# %%
from matplotlib.pyplot import subplots

text = "histopathology slide with squamous cell carcinoma"
scores = vectors @ model.embed_texts(text)[0]
_, axes = subplots(layout="constrained")
drawn = axes.scatter([tile.x for tile in tiles], [tile.y for tile in tiles], c=scores - scores.mean(), marker="s")
axes.invert_yaxis()
axes.set_aspect("equal")
axes.set(title=text, xlabel="x, pixels of the slide", ylabel="y")
_ = axes.figure.colorbar(drawn, label="cosine, less the mean")

# %% [markdown]
# The tiles that are most and least like the text, by their place:

# %%
order = np.argsort(-scores)
[(tiles[place].x, tiles[place].y, round(float(scores[place]), 3)) for place in (*order[:3], *order[-3:])]
