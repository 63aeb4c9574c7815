"""A model that embeds pictures and texts: a student's export, a teacher, or any other model, by name.

N pictures, T texts, B pictures of a batch, D dimensions, C x H x W pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from mmkd.device import prepare
from mmkd.errors import ConfigError
from mmkd.evaluation.models.encoders import loadable_model
from mmkd.settings import Machine
from mmkd.statistics.metrics import Array
from mmkd.teachers.encoders.teacher import Teacher
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import LOCAL, TeacherSpec, model_of
from mmkd.validation import parse

CLIP_SCALE = 100.0  # of a model that has no scale of its own: what CLIP's training is limited to
BATCH = 32


class Model(Protocol):
    """What `open_model` returns. All vectors are float32 of length 1.

    name: in tables. digest: of everything that decides its vectors. dim: D. scale: what cosines are multiplied with
    before a softmax.
    """

    name: str
    digest: str
    dim: int
    scale: float

    def prepare(self, image: Image.Image) -> np.ndarray:
        """An upright RGB picture as uint8 (C, H, W) of the model's size; may be called in threads."""
        ...

    def encode_prepared(self, image_BCHW: np.ndarray) -> Array:
        """(B, D)."""
        ...

    def encode_images(self, images: Sequence[Image.Image]) -> Array:
        """(N, D), BATCH pictures at a time."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Array:
        """(T, D)."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Of all texts together, as far as the model reads them."""
        ...


class TorchModel:
    """A model of open_clip, transformers or the zoo, in PyTorch."""

    def __init__(self, teacher: Teacher, digest: str) -> None:
        self.name, self.digest, self.dim = teacher.name, digest, teacher.dim
        self._teacher = teacher
        scale = getattr(teacher.towers.network, "logit_scale", None)
        self.scale = CLIP_SCALE if scale is None else float(torch.as_tensor(scale).detach().float().exp().max())

    def prepare(self, image: Image.Image) -> np.ndarray:
        return self._teacher.transform.pixels(image).numpy()

    def encode_prepared(self, image_BCHW: np.ndarray) -> Array:
        return self._teacher.encode_images(torch.from_numpy(image_BCHW)).numpy()

    def encode_images(self, images: Sequence[Image.Image]) -> Array:
        return in_batches(self, images)

    def encode_texts(self, texts: Sequence[str]) -> Array:
        return self._teacher.encode_texts(list(texts)).numpy()

    def count_tokens(self, texts: Sequence[str]) -> int:
        return int(self._teacher.tokenizer(list(texts)).length_N.sum())


def in_batches(model: Model, images: Sequence[Image.Image]) -> Array:
    """Vectors of pictures, BATCH at a time: (N, D)."""
    parts = [
        model.encode_prepared(np.stack([model.prepare(image) for image in images[first : first + BATCH]]))
        for first in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts) if parts else np.empty((0, model.dim), np.float32)


def open_model(text: str, device: str = "auto", precision: str = "fp32") -> Model:
    """The model that the text names: a folder (a student's export), or what `mmkd evaluate --model` takes.

    Raises ConfigError for a text that names no model, ModelError for one that does not load.
    """
    spec = model_spec(f"{LOCAL}{text}" if Path(text).is_dir() else text)
    teacher = load_teacher(spec, prepare(Machine(device=device)), precision)
    return TorchModel(teacher, loadable_model(spec).digest)


def model_spec(text: str, setting: str = "--model") -> TeacherSpec:
    """`[NAME=]MODEL` as a model to load. Raises ConfigError that names what is wrong with it."""
    try:
        data: dict[str, Any] = model_of(text)
    except ValueError as error:
        raise ConfigError(f"{setting} {text!r}: {error}") from error
    return parse(TeacherSpec, data, f"{setting} {text!r}", {"base": Path.cwd()})
