# %% [markdown]
# # The whole pipeline on a synthetic world
#
# `mmkd run demo` distils six small teachers into one student, on drawn pictures of nine modalities. Here the same recipe
# runs with a fraction of the pictures and epochs, so that it takes a minute on two cores. **Its numbers say nothing
# about medicine, and less than those of the whole demo about the method:** leave out the arguments after `out` for that.

# %%
import mmkd

counts = {"corpus": 900, "neuro": 500, "chest": 500, "eye": 500, "surface": 500, "slides": 500, "generalist": 500}
run = mmkd.run(
    "demo",
    out="runs/demo",
    phantom={
        "per_class": 16,
        "retrieval": 150,
        "pairs": {name: {"count": count} for name, count in counts.items()},
    },
    machine={"workers": 0},
    pretrain={"epochs": 2},
    distill={"epochs": 6},
    rivals={"contrastive": {"objective": "contrastive"}},
    evaluate={"bootstrap": 200},
    export={"to": ["open_clip"], "pictures": 50},
)

# %% [markdown]
# ## What lies in the folder of the run
#
# A finished stage is skipped when the cell runs again. `finished()` also has the seconds of each stage.

# %%
run.finished()[["folder", "kind", "counts"]]

# %% [markdown]
# ## Results
#
# Every number has a 95 % interval. The mean over the nine zero-shot test sets, for each model:

# %%
results = run.results()
means = results[
    (results["task"] == "zero_shot") & (results["dataset"] == "mean") & (results["modality"] == "mean")
].sort_values("value", ascending=False)
means[["model", "metric", "value", "low", "high", "n"]].round(3)

# %%
axes = run.plot_results("zero_shot")

# %% [markdown]
# Is the student better than its rivals? `comparisons()` has the paired differences, with Holm's correction.

# %%
run.comparisons().query("dataset == 'mean'").round(3).head(12)

# %% [markdown]
# How far each teacher is believed, by modality (percentile of the rank test): a specialist is believed in its own field.

# %%
run.reliability().round(2)

# %%
axes = run.plot_curves("distill")

# %% [markdown]
# ## The student
#
# `model()` is the exported student; `mmkd.load("runs/demo/export")` opens the same.

# %%
from pathlib import Path

model = run.model()
images = sorted(Path("runs/demo/world/classify/x_ray/test").glob("*/000.png"))
classes = {path.parent.name.replace("_", " "): ["a chest x-ray with {}", "{} on a radiograph"] for path in images}
found = model.classify(images, classes)
found.insert(0, "truth", [path.parent.name.replace("_", " ") for path in images])
found.round(2)
