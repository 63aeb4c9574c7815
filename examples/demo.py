# %% [markdown]
# # The whole pipeline on a synthetic world
#
# `mmkd run demo` distils seven small teachers into one student, on drawn pictures of nine modalities. Here it
# is made smaller still: two teachers and five modalities, two or three minutes on two cores. **Its numbers say nothing
# about medicine, and little about the method; [the results](../docs/results.md) are of the whole demo.**
#
# A recipe is one TOML file. Half of the student's captions name a wrong finding; each teacher knows some modalities.

# %%
from pathlib import Path

import mmkd

ALL = '["ct", "mri", "histopathology", "x-ray", "fundus"]'
CARDS = [f"${{out}}/world/classify/{name}/card.toml" for name in ("ct", "mri", "histopathology", "x_ray", "fundus")]
TEXT = (
    "context_length = 20, width = 64, heads = 2, layers = 1, vocab_size = 600, "
    'hf_tokenizer_name = "words", pool_type = "eos", eos_id = 3'
)


def teacher(name: str, network: str, epochs: int) -> str:
    return f"""
[[specialists]]
name = "{name}"
licence = "Apache-2.0"
curate.sources = [{{ kind = "table", path = "${{out}}/world/pairs/{name}/pairs.csv", licence = "Apache-2.0" }}]
pretrain = {{ epochs = {epochs}, lr = 0.002, weight_decay = 0.05, warmup_steps = 30 }}
[specialists.student]
tokenizer = "${{out}}/world/tokenizers/words"
[specialists.student.config]
embed_dim = 64
vision_cfg = {{ timm_model_name = "{network}", image_size = 32 }}
text_cfg = {{ {TEXT} }}
"""


Path("small.toml").write_text(f"""
name = "small"
[machine]
device = "cpu"
workers = 0
threads = 1

[phantom]
noise = 0.5
per_class = 40
retrieval = 400
pairs.neuro = {{ modalities = ["ct", "mri"], count = 1500 }}
pairs.slides = {{ modalities = ["histopathology", "x-ray", "fundus"], count = 2000 }}
pairs.corpus = {{ modalities = {ALL}, count = 2000, wrong_captions = 0.5 }}
tokenizers.words = {{ vocab_size = 600, lowercase = true }}
{teacher("neuro", "test_resnet", 8)}
{teacher("slides", "test_convnext2", 10)}
[curate]
sources = [{{ kind = "table", path = "${{out}}/world/pairs/corpus/pairs.csv", licence = "Apache-2.0" }}]

[student]
tokenizer = "${{out}}/world/tokenizers/words"
[student.config]
embed_dim = 64
vision_cfg = {{ timm_model_name = "test_efficientnet_gn", image_size = 32 }}
text_cfg = {{ {TEXT} }}

[pretrain]
epochs = 4
lr = 2e-3
weight_decay = 0.05
warmup_steps = 30

[distill]
objective = "affinity"
contrastive = 0.0
epochs = 10
lr = 2e-3
weight_decay = 0.05
warmup_steps = 30

[rivals.mmkd]
objective = "mmkd"

[evaluate]
cards = {CARDS}

[export]
to = ["open_clip"]
pictures = 50
""")
run = mmkd.run("small.toml", out="runs/demo")

# %% [markdown]
# ## What lies in the folder of the run
#
# A finished stage is skipped when the cell runs again. `finished()` also has the seconds of each stage.

# %%
run.finished()[["folder", "kind", "counts"]]

# %% [markdown]
# ## Results
#
# Every number has a 95 % interval. The mean over the five zero-shot test sets, for each model.
# `best_teacher` is on each set the teacher that is best there, which nobody can know beforehand.

# %%
columns = ["model", "value", "low", "high", "n"]
means = "metric == 'accuracy' and dataset == 'mean' and modality == 'mean' and subset == 'all'"
run.results().query(means)[columns].sort_values("value", ascending=False).round(3)

# %%
axes = run.plot_results("zero_shot")

# %% [markdown]
# Is the student better than the others? `comparisons()` has the paired differences.

# %%
found = run.comparisons().query(means)
found[["rival", "difference", "low", "high", "n"]].sort_values("difference").round(3)

# %% [markdown]
# How reliable each teacher is on each modality (percentile of the rank test):

# %%
run.reliability().round(2)

# %%
axes = run.plot_curves("distill")

# %% [markdown]
# ## The student
#
# `model()` is the exported student; `mmkd.load("runs/demo/export")` opens the same.

# %%
model = run.model()
images = sorted(Path("runs/demo/world/classify/x_ray/test").glob("*/000.png"))
classes = {path.parent.name.replace("_", " "): ["a chest x-ray with {}", "{} on a radiograph"] for path in images}
found = model.classify(images, classes)
found.insert(0, "truth", [path.parent.name.replace("_", " ") for path in images])
found.round(2)
