"""Embedded data sets for the tests of tasks: samples without files, and embeddings made by hand or at random."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mmkd.cards.card import Card
from mmkd.cards.samples import ImageRef, Sample
from mmkd.evaluation.models.embeddings import EmbeddedDataSet, Embeddings, normalised
from mmkd.evaluation.tasks.table import TASKS
from mmkd.statistics.metrics import Array


@dataclass(frozen=True)
class Named:
    """An image that nobody opens."""

    name: str

    def read(self) -> Image.Image:
        return Image.new("RGB", (4, 4))

    def digest(self) -> str:
        return self.name


def card(task: str, classes: Mapping[str, Sequence[str]] | None = None, **keys: Any) -> Card:
    """classes: name -> prompts."""
    return Card.model_validate(
        {
            "id": "set",
            "modality": "ct",
            "tasks": [task],
            "licence": "CC0",
            "layout": {"reader": "table", "path": "/set.csv"},
            "classes": [{"name": name, "prompts": list(prompts)} for name, prompts in (classes or {}).items()],
            **keys,
        }
    )


def unit(rows: int, dim: int, seed: int) -> Array:
    return normalised(np.random.default_rng(seed).normal(size=(rows, dim))).astype(np.float32)


def embedded(
    of_card: Card,
    samples: Sequence[Sample],
    members: Sequence[Mapping[ImageRef, Array]],
    texts: Sequence[Mapping[str, Array]] = ({},),
    seed: int = 0,
    **settings: Any,
) -> EmbeddedDataSet[Any]:
    """settings: of the card's first task. members, texts: for each model the vectors of its images and texts, of any
    length."""
    images = list(members[0])
    embeddings = [
        Embeddings(
            normalised(np.stack([vectors[image] for image in images])).astype(np.float32),
            normalised(np.stack(list(read.values()))).astype(np.float32) if read else np.empty((0, 0), np.float32),
            list(read),
        )
        for vectors, read in zip(members, texts, strict=True)
    ]
    chosen = TASKS[of_card.tasks[0]].settings.model_validate(settings)
    return EmbeddedDataSet("model", of_card, samples, images, embeddings, chosen, seed)
