"""What is evaluated: models with an image and a text tower, and null models for every model to beat.

B images of a batch, T texts, D dimensions, H x W pixels.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmkd.folders.digests import json_digest
from mmkd.folders.stage import content_digest
from mmkd.randomness import Purpose, generator, torch_generator
from mmkd.teachers.encoders.teacher import Teacher
from mmkd.teachers.files.identity import identity
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import LOCAL, TeacherSpec

STATISTICS_SIDE = 64
BINS = 8
RANDOM_DIM = 64  # of the vectors of `chance`


class Encoder(Protocol):
    """prepare: one image, on worker threads -> what `encode_images` takes in batches of equal shapes."""

    def prepare(self, image: Image.Image) -> Tensor: ...

    def encode_images(self, prepared: Tensor) -> Tensor:
        """(B, ...) -> (B, D)."""

    def encode_texts(self, texts: Sequence[str]) -> Tensor | None:
        """(T, D), or None for an encoder without a text tower."""


@dataclass(frozen=True)
class LoadableModel:
    """A model to evaluate. digest: of everything that decides its vectors. load: opens it on a device; picklable, as
    a worker may do it."""

    name: str
    digest: str
    load: Callable[[torch.device], Encoder]


class ModelEncoder:
    """A teacher or student with its own transform and tokenizer."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    def prepare(self, image: Image.Image) -> Tensor:
        return self._teacher.transform.pixels(image)

    def encode_images(self, prepared: Tensor) -> Tensor:
        return self._teacher.encode_images(prepared)

    def encode_texts(self, texts: Sequence[str]) -> Tensor | None:
        return self._teacher.encode_texts(texts)


class ColourAndSize:
    """Mean, deviation and histogram of each colour channel, and the image's width, height and shape: no content.

    What a classifier reaches on these says nothing about the image's content.
    """

    def prepare(self, image: Image.Image) -> Tensor:
        small_HWC = np.asarray(image.resize((STATISTICS_SIDE, STATISTICS_SIDE)), np.float64) / 255
        flat_PC = small_HWC.reshape(-1, 3)
        histogram = [np.histogram(flat_PC[:, c], BINS, (0, 1))[0] / len(flat_PC) for c in range(3)]
        size = np.log([image.width, image.height, image.width / image.height]) / 10
        return torch.from_numpy(np.concatenate([flat_PC.mean(0), flat_PC.std(0), *histogram, size]).astype(np.float32))

    def encode_images(self, prepared: Tensor) -> Tensor:
        return prepared

    def encode_texts(self, texts: Sequence[str]) -> Tensor | None:
        return None


class Chance:
    """A random direction for every distinct image and text: the result of guessing."""

    def prepare(self, image: Image.Image) -> Tensor:
        return self._direction(image.tobytes())

    def encode_images(self, prepared: Tensor) -> Tensor:
        return prepared

    def encode_texts(self, texts: Sequence[str]) -> Tensor | None:
        return torch.stack([self._direction(text.encode()) for text in texts]) if texts else torch.empty(0, RANDOM_DIM)

    def _direction(self, data: bytes) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
        return torch.from_numpy(generator(seed, Purpose.CHANCE).standard_normal(RANDOM_DIM).astype(np.float32))


def loadable_model(spec: TeacherSpec) -> LoadableModel:
    """A teacher, a student's folder, or any other model that `[[teachers]]` can name."""
    local = Path(spec.model.removeprefix(LOCAL)) if spec.model.startswith(LOCAL) else None
    weights = content_digest(local, ("*.safetensors", "*.json"), remember=True) if local else identity(spec)
    facts = spec.model_dump(exclude={"model", "licence"} if local else {"licence"})  # a folder may be moved
    return LoadableModel(spec.name, _digest([facts, weights]), partial(_load, spec))


def null_model(name: str, reference: TeacherSpec, seed: int) -> LoadableModel:
    """A model of `NULLS`. reference: the model whose architecture `random_weights` has."""
    if name == "chance":
        return LoadableModel(name, _digest([name, RANDOM_DIM]), _chance)
    if name == "colour_and_size":
        return LoadableModel(name, _digest([name, STATISTICS_SIDE, BINS]), _colour_and_size)
    digest = _digest([name, loadable_model(reference).digest, seed])
    return LoadableModel(name, digest, partial(_load_shuffled, reference, seed))


def _load(spec: TeacherSpec, device: torch.device) -> Encoder:
    return ModelEncoder(load_teacher(spec, device))


def _load_shuffled(spec: TeacherSpec, seed: int, device: torch.device) -> Encoder:
    return ModelEncoder(_shuffled(load_teacher(spec, device), seed))


def _chance(device: torch.device) -> Encoder:
    return Chance()


def _colour_and_size(device: torch.device) -> Encoder:
    return ColourAndSize()


def _shuffled(teacher: Teacher, seed: int) -> Teacher:
    """The model with the entries of every weight tensor in random order: its architecture without its training."""
    torch_rng = torch_generator(seed, Purpose.SHUFFLED_WEIGHTS)
    with torch.no_grad():
        for weight in teacher.towers.network.parameters():
            order = torch.randperm(weight.numel(), generator=torch_rng).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return teacher


def _digest(facts: Any) -> str:
    return json_digest(facts, sort_keys=True)
