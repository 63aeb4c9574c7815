"""Images and texts of the data sets, embedded by one model and kept on disk; I images, T texts, D dimensions."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from mmkd.cards.samples import ImageRef
from mmkd.errors import DataError, ModelError
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages
from mmkd.evaluation.models.embeddings import Embeddings, embeddings_path, is_made_from, normalised, write_embeddings
from mmkd.evaluation.models.encoders import Encoder, LoadableModel
from mmkd.folders.digests import json_digest
from mmkd.progress import say, track
from mmkd.statistics.metrics import Array

T = TypeVar("T")


def embed(
    model: LoadableModel,
    data_sets: Sequence[DataSet],
    folder: Path,
    device: torch.device,
    images: DecodedImages,
    batch_size: int,
    workers: int,
) -> dict[str, str]:
    """Write the embeddings file of every data set that has none yet; the model is loaded only if one is missing.

    Returns id -> why, of data sets with a picture that cannot be read. Raises ModelError when the model does not load
    or its output is not finite.
    """
    encoder: Encoder | None = None
    unreadable: dict[str, str] = {}
    for data_set in data_sets:
        path = embeddings_path(folder, data_set.card.id, model.name)
        made_from = made_from_digest(model, data_set)
        if not is_made_from(path, made_from):
            encoder = encoder or model.load(device)
            label = f"{model.name} on {data_set.card.id}"
            try:
                found = embed_data_set(encoder, data_set, images, batch_size, workers, label)
            except DataError as error:
                unreadable[data_set.card.id] = str(error)
            else:
                write_embeddings(path, found, made_from)
    if encoder is None:
        say(f"evaluate: {model.name}: embeddings are there already")
    return unreadable


def made_from_digest(model: LoadableModel, data_set: DataSet) -> str:
    """Of a model and a data set."""
    return json_digest([model.digest, data_set.digest])


def embed_data_set(
    encoder: Encoder, data_set: DataSet, images: DecodedImages, batch_size: int, workers: int, label: str
) -> Embeddings:
    """L2-normalised float32 embeddings of the data set's distinct images and texts; no texts for an encoder
    without a text tower.
    """
    batches = _image_batches(encoder, data_set.images, images, batch_size, workers)
    shown = track(batches, label, len(data_set.images), "images", weight=batch_size)
    parts = [encoder.encode_images(prepared) for prepared in shown]
    image_ID = torch.cat(parts) if parts else torch.empty(0, 0)
    text_parts = [encoder.encode_texts(batch) for batch in _chunks(data_set.texts, batch_size)]
    known = [part for part in text_parts if part is not None]
    texts = data_set.texts if len(known) == len(text_parts) else []
    text_TD = torch.cat(known) if known else torch.empty(0, image_ID.shape[1])
    names = [str(image) for image in data_set.images]
    return Embeddings(_finite(image_ID, f"{label}: image", names), _finite(text_TD, f"{label}: text", texts), texts)


def _image_batches(
    encoder: Encoder, references: Sequence[ImageRef], images: DecodedImages, batch_size: int, workers: int
) -> Iterator[torch.Tensor]:
    """(B, ...), as `encoder.prepare` makes them; threads prepare the next batch while the model works on this one."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        ahead: deque[Iterator[torch.Tensor]] = deque()
        for batch in _chunks(references, batch_size):
            ahead.append(pool.map(lambda reference: encoder.prepare(images.get(reference)), batch))
            if len(ahead) > 1:
                yield torch.stack(list(ahead.popleft()))
        while ahead:
            yield torch.stack(list(ahead.popleft()))


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _finite(value: torch.Tensor, what: str, names: Sequence[str]) -> Array:
    value_ND = value.numpy().astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(value_ND).all(axis=1))
    if len(bad):
        raise ModelError(f"{what}: the embedding of {names[bad[0]]!r} is not finite; check the model's weights")
    return normalised(value_ND)
