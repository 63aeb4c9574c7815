"""Constants and configs of the tiny world that several tests share."""

import os
from pathlib import Path

from mmkd.settings import Machine

REALDATA = Path(os.environ.get("MMKD_REALDATA", Path(__file__).parents[2] / "shared" / "realdata"))
MACHINE = Machine(device="cpu", workers=0, threads=1)


def tiny_config(dim: int = 16, width: int = 32) -> dict[str, object]:
    """A small ViT with a one-layer text tower over CLIP's own tokenizer."""
    vision = {"image_size": 32, "layers": 1, "width": width, "head_width": 16, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    return {"embed_dim": dim, "vision_cfg": vision, "text_cfg": text}


def recipe_of(rest: str, pairs: str = "unused.csv") -> str:
    """A recipe on this machine's CPU that reads a table of pairs; rest: its other sections."""
    machine = '[machine]\ndevice = "cpu"\nworkers = 0\nthreads = 1\n'
    return f'name = "mine"\n{machine}[curate]\nsources = [{{ kind = "table", path = "{pairs}" }}]\n{rest}'
