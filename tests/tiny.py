"""Constants and configs of the tiny world that several tests share."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from mmkd.settings import Machine

REALDATA = Path(os.environ.get("MMKD_REALDATA", Path(__file__).parents[2] / "shared" / "realdata"))
MACHINE = Machine(device="cpu", workers=0, threads=1)


def tiny_config(dim: int = 16, width: int = 32, patch: int = 16) -> dict[str, object]:
    """A small ViT with a one-layer text tower over CLIP's own tokenizer."""
    vision = {"image_size": 32, "layers": 1, "width": width, "head_width": 16, "patch_size": patch}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    return {"embed_dim": dim, "vision_cfg": vision, "text_cfg": text}


def save_tiny(folder: Path, seed: int = 0) -> Path:
    """A student of this config with random weights, as an open_clip folder."""
    from mmkd.student.build import build_student
    from mmkd.student.settings import StudentSettings
    from mmkd.teachers.files.open_clip_folder import save

    save(build_student(StudentSettings(config=tiny_config()), seed), folder)
    return folder


def write_noise(folder: Path, count: int, seed: int) -> list[Path]:
    """Pictures of 40 x 50 pixels, PNG."""
    draw, paths = np.random.default_rng(seed), [folder / f"{place}.png" for place in range(count)]
    for path in paths:
        Image.fromarray(draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return paths


def recipe_of(rest: str, pairs: str = "unused.csv") -> str:
    """A recipe on this machine's CPU that reads a table of pairs; rest: its other sections."""
    machine = '[machine]\ndevice = "cpu"\nworkers = 0\nthreads = 1\n'
    return f'name = "mine"\n{machine}[curate]\nsources = [{{ kind = "table", path = "{pairs}" }}]\n{rest}'
