"""The leakage audit: hash all pictures, look them up, confirm what was found, write it down.

P pairs, N pictures, V views, D dimensions.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mmkd.cards.samples import SPLITS, CorpusImage, ImageRef, Split, corpus_of
from mmkd.corpus.taxonomy import MODALITIES
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages
from mmkd.evaluation.leakage.hashes import VIEWS, turned
from mmkd.evaluation.leakage.matches import LeakageSummary, Match, read_summary, summarised, write_audit
from mmkd.evaluation.leakage.similarity import BATCH, THUMBNAILS, Describe, described_by, threshold, thumbnails
from mmkd.evaluation.leakage.twins import (
    BETWEEN,
    CORPUS,
    Keys,
    Pictures,
    Twin,
    corpus_keys,
    pictures_of,
    split_keys,
    twins_in,
)
from mmkd.evaluation.models.encoders import Candidate
from mmkd.images.thresholds import LEAKAGE
from mmkd.statistics.metrics import Array

CONTROLS = 200  # pictures that are compared with those of other modalities
OTHERS = 1000

Read = Callable[[ImageRef], Image.Image]


def audit(
    data_sets: Sequence[DataSet],
    corpus: Path | None,
    folder: Path,
    images: DecodedImages,
    candidate: Candidate | None = None,
    device: torch.device | None = None,
    workers: int = 0,
    radius: int = LEAKAGE.radius,
) -> LeakageSummary:
    """Write `leakage.jsonl` and `leakage.json` into the folder, unless they are there for these inputs.

    Looks for the pictures of all data sets in the training rows of the corpus, and for those of each split in the
    splits that a model may be fitted on. candidate: the model whose embeddings confirm near copies, on `device`;
    without one, correlation of small grey pictures does. Raises DataError for a picture that cannot be read.
    """
    made_from = _made_from(data_sets, corpus, candidate, radius)
    done = read_summary(folder)
    if done and done.made_from == made_from:
        return done
    hashed = [pictures_of(data_set, images.get, workers) for data_set in data_sets if data_set.images]
    keys = corpus_keys(corpus) if corpus else None
    found = [(pictures, twin) for pictures in hashed for twin in _twins(pictures, keys, radius)]
    describe: Describe = thumbnails
    if candidate is not None and found:
        describe = described_by(candidate.load(device or torch.device("cpu")))
    limit = _calibrated(hashed, corpus, describe, images.get) if found else 1.0
    alike_P = _similarities([twin for _, twin in found], describe, images.get)
    matches = [
        match
        for (pictures, twin), alike in zip(found, alike_P.tolist(), strict=True)
        for match in _matches(pictures, twin, alike, limit, images.get)
    ]
    name = candidate.name if candidate else THUMBNAILS
    sets = summarised(matches, _sizes(hashed, corpus is not None))
    summary = LeakageSummary(radius, name, limit, made_from, sets)
    write_audit(folder, summary, matches)
    return summary


def _twins(pictures: Pictures, corpus: Keys | None, radius: int) -> Iterator[Twin]:
    if corpus is not None:
        yield from twins_in(pictures, np.arange(len(pictures.images)), corpus, radius)
    for split, other in BETWEEN:
        yield from twins_in(pictures, pictures.in_split(split), split_keys(pictures, other), radius, split)


def _matches(pictures: Pictures, twin: Twin, alike: float, limit: float, read: Read) -> Iterator[Match]:
    """A row for each sample that shows the picture."""
    exact = twin.bytes_equal or _same_pixels(twin, read)
    for sample in pictures.samples_of[twin.image]:
        if twin.split is None or sample.split == twin.split:
            yield Match(
                dataset=pictures.data_set.card.id,
                sample=sample.id,
                split=sample.split,
                source=twin.source,
                partner=twin.name,
                kind="exact" if exact else "near",
                distance=twin.distance,
                view=list(VIEWS)[twin.view],
                similarity=1.0 if exact else alike,
                confirmed=exact or alike > limit,
            )


def _same_pixels(twin: Twin, read: Read) -> bool:
    if twin.distance or twin.view:
        return False
    return np.array_equal(np.asarray(read(twin.image)), np.asarray(read(twin.partner)))


def _similarities(twins: Sequence[Twin], describe: Describe, read: Read) -> Array:
    """Of each pair, the data set's picture in the view that matched; (P,). Few pictures are in memory at once."""
    parts = [np.empty(0)]
    remaining = iter(twins)
    while batch := list(islice(remaining, BATCH)):
        own_PD = describe([turned(read(twin.image), twin.view) for twin in batch])
        partner_PD = describe([read(twin.partner) for twin in batch])
        parts.append((own_PD * partner_PD).sum(axis=1))
    return np.concatenate(parts)


def _calibrated(hashed: Sequence[Pictures], corpus: Path | None, describe: Describe, read: Read) -> float:
    """The threshold, from pictures whose modality is known on both sides."""
    own = [(image, one.data_set.card.modality) for one in hashed for image in one.images]
    own = [pair for pair in own if pair[1] in MODALITIES]
    rows = [] if corpus is None else list(enumerate(corpus_of(corpus).modalities.tolist()))
    inside = [(CorpusImage(corpus, row), modality) for row, modality in rows if corpus and modality in MODALITIES]
    controls, others = _spread(own, CONTROLS), [*_spread(own, OTHERS), *_spread(inside, OTHERS)]
    if not controls:
        return threshold(np.empty((0, len(VIEWS), 1)), [], np.empty((0, 1)), [])
    views_NVD = [describe([turned(read(image), view) for view in range(len(VIEWS))]) for image, _ in controls]
    other_OD = [describe([read(image) for image, _ in others[start : start + BATCH]]) for start in _starts(others)]
    return threshold(
        np.stack(views_NVD), [name for _, name in controls], np.concatenate(other_OD), [name for _, name in others]
    )


def _starts(items: Sequence[object]) -> range:
    return range(0, len(items), BATCH)


def _spread(items: Sequence[tuple[ImageRef, str]], most: int) -> list[tuple[ImageRef, str]]:
    """Evenly spread over the list: no draw, so nothing to seed."""
    count = min(most, len(items))
    return [items[place * len(items) // count] for place in range(count)]


def _sizes(hashed: Sequence[Pictures], with_corpus: bool) -> dict[tuple[str, Split, str], int]:
    """(data set, split, source) -> samples, for everything that was looked up."""
    sizes: dict[tuple[str, Split, str], int] = {}
    for pictures in hashed:
        name = pictures.data_set.card.id
        count = Counter(sample.split for sample in pictures.data_set.samples if sample.images)
        asked = [(split, CORPUS) for split in SPLITS if with_corpus] + [pair for pair in BETWEEN if count[pair[1]]]
        sizes |= {(name, split, source): count[split] for split, source in asked if count[split]}
    return sizes


def _made_from(data_sets: Sequence[DataSet], corpus: Path | None, candidate: Candidate | None, radius: int) -> str:
    facts = [
        [[data_set.card.id, data_set.digest] for data_set in data_sets],
        corpus_of(corpus).digest if corpus else "",
        candidate.digest if candidate else THUMBNAILS,
        radius,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
