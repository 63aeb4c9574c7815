"""The images and texts of the data sets, embedded by one model and kept on disk; N samples, T texts, D dimensions."""

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from mmkd.errors import ModelError
from mmkd.evaluation.data_set import DataSet, DecodedImages
from mmkd.evaluation.embeddings import Embeddings, embeddings_path, is_made_from, normalised, write_embeddings
from mmkd.evaluation.statistics.metrics import Array
from mmkd.progress import say, track
from mmkd.stage import content_digest
from mmkd.teachers.load import identity, load_teacher
from mmkd.teachers.settings import TeacherSpec
from mmkd.teachers.teacher import Teacher

T = TypeVar("T")
LOCAL = "local-dir:"


def embed(
    spec: TeacherSpec,
    data_sets: Sequence[DataSet],
    folder: Path,
    device: torch.device,
    images: DecodedImages,
    batch_size: int,
    workers: int,
) -> None:
    """Write the embeddings file of every data set that has none yet; the model is loaded only if one is missing.

    Raises DataError for an unreadable image and ModelError when the model does not load or its output is not finite.
    """
    local = Path(spec.model.removeprefix(LOCAL)) if spec.model.startswith(LOCAL) else None
    weights = content_digest(local, ("*.safetensors", "*.json")) if local else identity(spec)
    teacher: Teacher | None = None
    for data_set in data_sets:
        path = embeddings_path(folder, data_set.card.id, spec.name)
        facts = json.dumps([spec.model_dump(), weights, data_set.digest])
        made_from = hashlib.sha256(facts.encode()).hexdigest()
        if not is_made_from(path, made_from):
            teacher = teacher or load_teacher(spec, device)
            write_embeddings(path, embed_data_set(teacher, data_set, images, batch_size, workers), made_from)
    if teacher is None:
        say(f"evaluate: {spec.name}: embeddings are there already")


def embed_data_set(
    teacher: Teacher, data_set: DataSet, images: DecodedImages, batch_size: int, workers: int
) -> Embeddings:
    """L2-normalised float32 embeddings of the samples' images and of the data set's texts."""
    names = [sample.id for sample in data_set.samples]
    label = f"{teacher.name} on {data_set.card.id}"
    batches = _image_batches(teacher, data_set, images, batch_size, workers)
    shown = track(batches, label, len(names), "images", weight=batch_size)
    image_ND = torch.cat([teacher.encode_images(image_BCHW) for image_BCHW in shown])
    text_TD = torch.cat([teacher.encode_texts(batch) for batch in _chunks(data_set.texts, batch_size)])
    return Embeddings(
        _finite(image_ND, f"{label}: image", names), _finite(text_TD, f"{label}: text", data_set.texts), data_set.texts
    )


def _image_batches(
    teacher: Teacher, data_set: DataSet, images: DecodedImages, batch_size: int, workers: int
) -> Iterator[torch.Tensor]:
    """uint8 (B, C, H, W), at the size of the model; threads prepare the next batch while it works on this one."""
    paths = [sample.image for sample in data_set.samples]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        ahead: deque[Iterator[torch.Tensor]] = deque()
        for batch in _chunks(paths, batch_size):
            ahead.append(pool.map(lambda path: teacher.transform.pixels(images.get(path)), batch))
            if len(ahead) > 1:
                yield torch.stack(list(ahead.popleft()))
        yield torch.stack(list(ahead.popleft()))


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _finite(value: torch.Tensor, what: str, names: Sequence[str]) -> Array:
    value_ND = value.numpy().astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(value_ND).all(axis=1))
    if len(bad):
        raise ModelError(f"{what}: the embedding of {names[bad[0]]!r} is not finite; check the model's weights")
    return normalised(value_ND)
