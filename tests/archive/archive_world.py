"""Rows of archives and a model of colours that several tests share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from mmkd.archive.rows import Facts, vectors_column

DIM = 16
FACTS = Facts("colours", "colours", "c" * 64, DIM)
MODALITIES = ("ct", "mri", "it's", "")


def unit(count: int, seed: int, dim: int = DIM) -> np.ndarray:
    vector_ND = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)


def rows(count: int, seed: int = 0, state: str = "1") -> pa.Table:
    """Of 4 slices a series and 12 a patient; every seventh has no series, slice or patient."""
    known = [place % 7 > 0 for place in range(count)]
    return pa.table(
        {
            "id": [f"id{place:05d}" for place in range(count)],
            "path": [f"{place}.png" for place in range(count)],
            "caption": [f"100% of {'effusion' if place % 3 else 'Nodule'} {place % 5}" for place in range(count)],
            "modality": [MODALITIES[place % 4] for place in range(count)],
            "patient": [f"p{place // 12}" if here else "" for place, here in enumerate(known)],
            "series": [f"s{place // 4}" if here else "" for place, here in enumerate(known)],
            "slice": pa.array([place % 4 if here else None for place, here in enumerate(known)], pa.int32()),
            "state": [state] * count,
            "vector": vectors_column(unit(count, seed)),
        }
    )


class ColourModel:
    """A model whose vectors are the colours of a 2 x 2 copy, and of a text the colour that it names."""

    name, digest, dim, scale = FACTS.name, FACTS.digest, DIM, 1.0

    def __init__(self) -> None:
        self.encoded = 0

    def prepare(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((2, 2), Image.Resampling.BOX)).transpose(2, 0, 1)

    def encode_prepared(self, image_BCHW: np.ndarray) -> np.ndarray:
        self.encoded += len(image_BCHW)
        flat = image_BCHW.reshape(len(image_BCHW), -1).astype(np.float32) + 1
        vector_BD = np.pad(flat, ((0, 0), (0, DIM - flat.shape[1])))
        return vector_BD / np.linalg.norm(vector_BD, axis=1, keepdims=True)

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        return self.encode_prepared(np.stack([self.prepare(image) for image in images]))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self.encode_images([Image.new("RGB", (2, 2), text) for text in texts])


def write_pictures(folder: Path, count: int, first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(first, first + count):
        colour = tuple(int(part) for part in np.random.default_rng(place).integers(0, 256, 3))
        Image.new("RGB", (8, 8), colour).save(folder / f"{place:04d}.png")
