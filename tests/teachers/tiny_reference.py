"""Four records in the layout of the public MMKD-CLIP data."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CAPTIONS = ["a chest radiograph", "drusen on optical coherence tomography of the retina", "skin", "gland, H&E"]
IMAGES = [
    Image.fromarray(np.random.default_rng(n).integers(0, 256, (40, 30 + 9 * n, 3), dtype=np.uint8)) for n in range(4)
]


def write_reference(root: Path, vectors: Mapping[str, tuple[Tensor, Tensor]], absent: Mapping[str, set[int]]) -> None:
    """The public layout: vectors by reference name, of the records that are not in `absent`."""
    lines = []
    for n, (image, caption) in enumerate(zip(IMAGES, CAPTIONS, strict=True)):
        folder = root / "features" / f"r{n}"
        folder.mkdir(parents=True)
        image.save(folder / "figure.png")
        having = [name for name in vectors if n not in absent.get(name, set())]
        stored = {f"{name}_img": vectors[name][0][n].clone() for name in having}
        stored |= {f"{name}_txt": vectors[name][1][n].clone() for name in having}
        torch.save(stored, folder / "clips_output.pt")
        row = {"id": f"r{n}", "imgpath": f"features/r{n}/figure.png", "txt": caption, "available_clips": having}
        lines.append(json.dumps(row))
    (root / "meta.jsonl").write_text("\n".join(lines) + "\n")
