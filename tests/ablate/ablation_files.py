"""A small recipe and ablation on disk, for the tests of the runner."""

from pathlib import Path

CONFIG = """
embed_dim = 16
vision_cfg = { layers = 1, width = 32, head_width = 16, patch_size = 16, image_size = 32 }
[WHERE.text_cfg]
context_length = 16
width = 32
heads = 2
layers = 1
vocab_size = 300
hf_tokenizer_name = "lower"
pool_type = "eos"
eos_id = 3
"""
TEACHER = """
[[specialists]]
name = "{name}"
[[specialists.curate.sources]]
kind = "table"
path = "${{out}}/world/pairs/{name}/pairs.csv"
[specialists.student]
tokenizer = "${{out}}/world/tokenizers/lower"
[specialists.student.config]{config}
[specialists.pretrain]
epochs = 1
batch_size = 16
"""


def teacher(name: str) -> str:
    return TEACHER.format(name=name, config=CONFIG.replace("WHERE", "specialists.student.config"))


RECIPE = f"""
name = "tiny"
[machine]
device = "cpu"
workers = 0
threads = 1
[phantom]
per_class = 1
retrieval = 2
[phantom.pairs.corpus]
modalities = ["ct", "oct"]
count = 40
wrong_captions = 0.5
[phantom.pairs.one]
modalities = ["ct"]
count = 24
[phantom.pairs.two]
modalities = ["oct"]
count = 24
[phantom.tokenizers.lower]
vocab_size = 300
pairs = ["one", "two"]
{teacher("one")}{teacher("two")}
[curate]
[[curate.sources]]
kind = "table"
path = "${{out}}/world/pairs/corpus/pairs.csv"
[extract]
batch_size = 32
[student]
tokenizer = "${{out}}/world/tokenizers/lower"
[student.config]{CONFIG.replace("WHERE", "student.config")}
[pretrain]
epochs = 1
batch_size = 16
[distill]
epochs = 1
batch_size = 16
[rivals.other]
objective = "contrastive"
[evaluate]
cards = ["${{out}}/world/classify/ct/card.toml", "${{out}}/world/classify/oct/card.toml"]
[export]
to = ["open_clip"]
"""
ABLATION = """
about = "Two ways."
recipe = "recipe.toml"
seeds = [0, 1]
axis = "share"
[common]
distill.log_every = 1
[variants.default]
line = "affinity"
x = 0.5
[variants.contrastive]
about = "on captions"
distill.objective = "contrastive"
[variants.right]
line = "affinity"
x = 0.0
phantom.pairs.corpus.wrong_captions = 0.0
[variants.alone]
leave_out = ["two"]
"""


def write_files(folder: Path, ablation: str = ABLATION) -> Path:
    """Returns the ablation's path."""
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "ablation.toml").write_text(ablation)
    return folder / "ablation.toml"
