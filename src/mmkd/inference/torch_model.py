"""A model in PyTorch: a student's folder, a teacher, or any other that mmkd loads."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mmkd.device import prepare
from mmkd.evaluation.models.encoders import loadable_model
from mmkd.inference.model import in_batches
from mmkd.settings import Machine
from mmkd.statistics.metrics import Array
from mmkd.teachers.encoders.teacher import Teacher
from mmkd.teachers.files.identity import model_digest
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import LOCAL, TeacherSpec

CLIP_SCALE = 100.0  # of a model that has no scale of its own: what CLIP's training is limited to


TEXT_BATCH = 256  # prompts of a thousand classes at once would take gigabytes


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
        parts = [
            self._teacher.encode_texts(list(texts[first : first + TEXT_BATCH])).numpy()
            for first in range(0, len(texts), TEXT_BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)

    def count_tokens(self, texts: Sequence[str]) -> int:
        return int(self._teacher.tokenizer(list(texts)).length_N.sum())


def open_torch(spec: TeacherSpec, device: str, precision: str) -> TorchModel:
    """Raises ModelError for a model that does not load."""
    teacher = load_teacher(spec, prepare(Machine(device=device)), precision)
    local = spec.model.startswith(LOCAL)
    return TorchModel(
        teacher, model_digest(Path(spec.model.removeprefix(LOCAL))) if local else loadable_model(spec).digest
    )
