# %% [markdown]
# # Your own table of pictures and captions
#
# From a CSV to a student: `mmkd init`, `check`, `curate`, `run`. The pictures here are drawn, so that the notebook runs
# anywhere; put your own `pairs.csv` in their place.

# %%
import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import mmkd

KINDS = {"round opacity": "ellipse", "square calcification": "rectangle"}
folder = Path("own")
(folder / "images").mkdir(parents=True, exist_ok=True)
draw = np.random.default_rng(0)
with (folder / "pairs.csv").open("w", newline="") as stream:
    table = csv.writer(stream)
    table.writerow(["file", "report", "patient"])
    for place in range(400):
        finding, shape = list(KINDS.items())[place % 2]
        picture = Image.fromarray(draw.integers(0, 90, (48, 48, 3), dtype=np.uint8))
        x, y, size = draw.integers(4, 26, 3)
        getattr(ImageDraw.Draw(picture), shape)((x, y, x + 8 + size // 2, y + 8 + size // 2), fill=(210, 210, 210))
        picture.save(folder / "images" / f"{place:03d}.png")
        table.writerow([f"images/{place:03d}.png", f"chest radiograph with a {finding}", f"patient-{place // 4}"])
(folder / "images" / "007.png").write_bytes(b"this file is no picture")  # archives have such files

# %% [markdown]
# `mmkd init` guesses the columns and writes a recipe with comments, and a card that evaluates on held-out pairs.

# %%
# !mmkd init own/pairs.csv --recipe own/mine.toml

# %% [markdown]
# The recipe names public teachers. Their weights are not here, and `mmkd check` says so before any work:

# %%
# !mmkd check own/mine.toml --out runs/own | head -20

# %% [markdown]
# Here two tiny teachers are trained on the same table instead, and the student is tiny, too. Any key of the recipe can
# be given as an argument. With real teachers, `mmkd.run("own/mine.toml")` is enough.

# %%
config = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
source = {
    "kind": "table",
    "path": str(Path("own/pairs.csv").resolve()),
    "columns": {"image": "file", "caption": "report", "group": "patient"},
    "modality": "x-ray",
    "licence": "CC0-1.0",
}
training = {"epochs": 12, "batch_size": 64, "lr": 2e-3, "warmup_steps": 10}
teacher = {
    "curate": {"sources": [source]},
    "student": {"config": config},
    "pretrain": training,
    "licence": "Apache-2.0",
}
changes = {
    "machine": {"device": "cpu", "workers": 0},
    "teachers": [],
    "specialists": [{"name": "first", **teacher}, {"name": "second", **teacher}],
    "curate": {"sources": [source], "modality": {"by": "source"}},
    "student": {"config": config, "model": None},
    "pretrain": {**training, "epochs": 4},
    "distill": training,
    "evaluate": {"bootstrap": 200},
    "export": {"to": ["open_clip"], "pictures": 50},
}

# %% [markdown]
# Curation alone: every record is counted, also the file that is no picture.

# %%
run = mmkd.stages.curate("own/mine.toml", out="runs/own", **changes)
run.finished()[["folder", "counts"]]

# %%
run = mmkd.run("own/mine.toml", out="runs/own", **changes)
run.results().query("task == 'retrieval' and subset == 'all'")[["model", "metric", "value", "low", "high", "n"]].round(3)
