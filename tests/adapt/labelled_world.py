"""A tiny model and pictures whose class is their colour."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
Rows = list[dict[str, object]]


def write_pictures(folder: Path, count: int = 36, noise: int = 60, seed: int = 0) -> Rows:
    """Pictures below the folder, and rows that name and label them; three of a group."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows: Rows = []
    for number in range(count):
        label = list(COLOURS)[number % 3]
        pixels = np.array(COLOURS[label]) + rng.integers(-noise, noise, size=(32, 32, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        rows.append({"path": f"{folder.name}/{number}.png", "class": label, "patient": f"p{number // 6}-{label}"})
    return rows


def write_table(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
