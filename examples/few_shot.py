# %% [markdown]
# # What a few labels are worth
#
# `adapt` makes a classifier of labelled pictures, in seconds on a CPU, and measures it beside zero-shot on pictures
# that it has not learnt from. The model is the student of `demo.ipynb` (run that first).

# %%
from pathlib import Path

import pandas as pd

import mmkd

files = sorted(Path("runs/demo/world/classify/mri/test").glob("*/*.png"))
labels = pd.DataFrame({"image": [str(path.resolve()) for path in files], "label": [path.parent.name for path in files]})
labels.to_csv("runs/labels.csv", index=False)
labels["label"].value_counts()

# %%
model = mmkd.load("runs/demo/export")
adapted = model.adapt("runs/labels.csv", "runs/adapted", prompt="brain MRI showing {}")
adapted.gains().round(3)

# %% [markdown]
# `gain` is balanced accuracy minus that of zero-shot, with a 95 % interval. Where the interval holds zero, no gain is
# shown; on classes of very different sizes adaptation is often worse than zero-shot.

# %%
from matplotlib.pyplot import subplots

gains = adapted.gains()
_, axes = subplots(layout="constrained")
axes.errorbar(
    gains["labels a class"],
    gains["gain"],
    yerr=[gains["gain"] - gains["low"], gains["high"] - gains["gain"]],
    fmt="o",
    capsize=3,
)
axes.axhline(0, color="grey", linewidth=1)
_ = axes.set(xlabel="labels a class", ylabel="gain over zero-shot, 95 % interval")

# %% [markdown]
# The result is a model folder that `mmkd label` and `mmkd serve` take. From Python, `classify` without classes uses the
# classifier, whose probabilities are calibrated on the labels.

# %%
adapted.model().classify(files[:3]).round(3)
