"""A corpus of three modalities and of plots, with captions that tell and captions that do not, and teachers of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_world import DIM, write_corpus, write_features
from mmkd.corpus.schema import Corpus
from mmkd.features.store import TeacherFeatures, open_features

SHOWN = ("ct", "mri", "ultrasound", "other")
WORDS = ("Axial CT", "T2-weighted MRI", "Ultrasound image", "Bar chart")
RECIPE = """
name = "mine"
[machine]
workers = 0
[curate]
sources = [{ kind = "table", path = "unused.csv" }]
[[teachers]]
name = "sharp"
model = "local-dir:unused"
licence = "MIT"
[student]
model = "ViT-B-32"
[evaluate]
cards = ["unused.toml"]
"""


@dataclass(frozen=True)
class SeenWorld:
    """truth_N: what each picture shows, places in SHOWN. Every fourth caption tells nothing."""

    folder: Path
    truth_N: np.ndarray

    @property
    def corpus(self) -> Corpus:
        return Corpus(self.folder / "corpus")

    def add(self, name: str, signal: float, seed: int, blind: slice = slice(0)) -> TeacherFeatures:
        """A teacher: image and text of a kind share a direction, as far as `signal` goes; of rows `blind` it has none.

        Its vectors also share one direction that means nothing, as those of real teachers do.
        """
        rng = np.random.default_rng(seed)
        meant_ND = signal * np.eye(DIM)[self.truth_N] + 2.0 * np.eye(DIM)[-1]
        sides = {side: meant_ND + rng.normal(0, 0.1, meant_ND.shape) for side in ("image", "text")}
        for value_ND in sides.values():
            value_ND /= np.linalg.norm(value_ND, axis=1, keepdims=True)
            value_ND[blind] = np.nan
        write_features(self.folder / "features" / name, self.corpus, sides)
        return open_features(self.folder / "features", self.corpus, [name])[0]


def make_seen_world(folder: Path, count: int = 240, shards: int = 1, **changed: dict[int, Any]) -> SeenWorld:
    """changed: column -> row -> another value."""
    truth_N = np.arange(count) % len(SHOWN)
    columns: dict[str, list[Any]] = {
        "caption": [
            f"{WORDS[m]} number {row}" if row // 4 % 4 else f"finding {row}" for row, m in enumerate(truth_N.tolist())
        ],
        "modality": [""] * count,
        "modality_stated": [""] * count,
        "sha256": [f"{row:064x}" for row in range(count)],
        "image": [{"bytes": b"", "path": None} for _ in range(count)],
    }
    for name, values in changed.items():
        for row, value in values.items():
            columns[name][row] = value
    write_corpus(folder / "corpus", columns, shards)
    return SeenWorld(folder, truth_N)
