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

SHAPES = {"round opacity": "ellipse", "square calcification": "rectangle"}
SIZES = {"small": 6, "large": 13}
PLACES = {"left upper": (3, 3), "right upper": (29, 3), "left lower": (3, 29), "right lower": (29, 29)}
folder = Path("own")
(folder / "images").mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)
with (folder / "pairs.csv").open("w", newline="") as stream:
    table = csv.writer(stream)
    table.writerow(["file", "report", "patient"])
    for number in range(600):
        shape, size, place = (str(rng.choice(list(kinds))) for kinds in (SHAPES, SIZES, PLACES))
        picture = Image.fromarray(rng.integers(0, 120, (48, 48, 3), dtype=np.uint8))
        x, y = PLACES[place] + rng.integers(-2, 3, 2)
        getattr(ImageDraw.Draw(picture), SHAPES[shape])((x, y, x + SIZES[size], y + SIZES[size]), fill=(130, 130, 130))
        picture.save(folder / "images" / f"{number:03d}.png")
        report = f"chest radiograph with a {size} {shape} in the {place} zone"
        table.writerow([f"images/{number:03d}.png", report, f"patient-{number // 4}"])
(folder / "images" / "007.png").write_bytes(b"this file is no picture")  # archives have such files

# %% [markdown]
# `mmkd init` guesses the columns and writes a recipe with comments, and a card that evaluates on held-out pairs.

# %%
# !mmkd init own/pairs.csv --recipe own/mine.toml

# %% [markdown]
# The recipe names public teachers. `mmkd check` lists all that a run would miss, before any work; here, their weights:

# %%
# !mmkd check own/mine.toml --out runs/own 2>&1 | grep -o "teacher '[a-z]*': weights not found"

# %% [markdown]
# Curation needs no teachers. Every record is counted, also the file that is no picture.

# %%
run = mmkd.stages.curate("own/mine.toml", out="runs/own")
run.finished()[["folder", "counts"]]

# %% [markdown]
# Here two tiny teachers are trained on the same table instead, and the student is tiny, too. Any key of the recipe can
# be given as an argument. With real teachers, `mmkd.run("own/mine.toml")` is enough.

# %%
config = {
    "embed_dim": 32,
    "vision_cfg": {"timm_model_name": "test_efficientnet_gn", "image_size": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
other = {**config, "embed_dim": 48, "vision_cfg": {"timm_model_name": "test_resnet", "image_size": 32}}
source = {
    "kind": "table",
    "path": str(Path("own/pairs.csv").resolve()),
    "columns": {"image": "file", "caption": "report", "group": "patient"},
    "modality": "x-ray",
    "licence": "CC0-1.0",
}
training = {"epochs": 8, "batch_size": 64, "lr": 2e-3, "weight_decay": 0.05, "warmup_steps": 20}
teacher = {
    "curate": {"sources": [source]},
    "student": {"config": config},
    "pretrain": training,
    "licence": "Apache-2.0",
}
changes = {
    "machine": {"device": "cpu", "workers": 0},
    "teachers": [],
    "specialists": [{"name": "first", **teacher}, {"name": "second", **teacher, "student": {"config": other}}],
    "student": {"config": config, "model": None},
    "pretrain": {**training, "epochs": 4},
    "distill": training,
    "evaluate": {"bootstrap": 200},
    "export": {"to": ["open_clip"], "pictures": 50},
}

# %%
run = mmkd.run("own/mine.toml", out="runs/own", **changes)
run.finished()[["folder", "counts"]]

# %% [markdown]
# Captions found for pictures and pictures for captions, among the held-out pairs, with 95 % intervals. Many reports are
# alike here, which random guessing profits from, too: `chance` and `random_weights` are the null models.

# %%
retrieval = run.results().query("metric == 'mean_recall' and dataset != 'mean' and subset == 'all'")
retrieval[["model", "value", "low", "high", "n"]].sort_values("value", ascending=False).round(3)

# %%
axes = run.plot_curves("distill")
