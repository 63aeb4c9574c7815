"""The leakage audit: hash all images, look them up, confirm what was found, write it down.

Near copies are confirmed by their similarity, against that of images which cannot be copies.
P pairs, N images, O others, V views, D dimensions.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mmkd.cards.samples import SPLITS, CorpusImage, ImageRef, Split, corpus_of
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages
from mmkd.evaluation.leakage.duplicates import (
    BETWEEN,
    CORPUS,
    DuplicatePair,
    HashedImages,
    ReferenceImages,
    corpus_images,
    duplicates_in,
    hashed_images,
    split_images,
)
from mmkd.evaluation.leakage.hashes import VIEWS, turned
from mmkd.evaluation.leakage.matches import LeakageSummary, Match, read_summary, summarised, write_audit
from mmkd.evaluation.models.embeddings import normalised
from mmkd.evaluation.models.encoders import Encoder, LoadableModel
from mmkd.folders.digests import json_digest
from mmkd.images.thresholds import LEAKAGE
from mmkd.images.thumbnails import small_grey
from mmkd.modalities.taxonomy import MODALITIES
from mmkd.statistics.metrics import Array

Describe = Callable[[Sequence[Image.Image]], Array]
"""Images to unit vectors, float (N, D)."""

THUMBNAILS = "thumbnails"
QUANTILE = 0.999
FEWEST_CONTROLS = 20
BATCH = 64
CONTROLS = 200  # images that are compared with those of other modalities
OTHERS = 1000
Read = Callable[[ImageRef], Image.Image]


def thumbnails(images: Sequence[Image.Image]) -> Array:
    """Grey images of 32 x 32 pixels without their mean, so that the cosine is their correlation; a flat one is 0."""
    grey_ND = np.stack([np.asarray(small_grey(image), np.float64).ravel() for image in images])
    return normalised(grey_ND - grey_ND.mean(axis=1, keepdims=True))


def described_by(encoder: Encoder) -> Describe:
    def describe(images: Sequence[Image.Image]) -> Array:
        parts = [
            encoder.encode_images(torch.stack([encoder.prepare(image) for image in images[start : start + BATCH]]))
            for start in range(0, len(images), BATCH)
        ]
        return normalised(torch.cat(parts).double().cpu().numpy())

    return describe


def threshold(own_NVD: Array, own_domain_N: Sequence[str], other_OD: Array, other_domain_O: Sequence[str]) -> float:
    """What a copy has to exceed: the similarity of almost every image to the nearest one of another modality.

    Such pairs are no copies, however alike they look; taken over all views, as candidates are. 0.95 where fewer than 20
    images have a control. (Similar images of one modality may be other patients: arXiv 2606.10066.)
    """
    if not len(own_NVD) or not len(other_OD):
        return LEAKAGE.correlation
    alike_NO = np.einsum("nvd,od->nvo", own_NVD, other_OD).max(axis=1)
    control_NO = np.asarray(own_domain_N)[:, None] != np.asarray(other_domain_O)
    nearest_N = np.where(control_NO, alike_NO, -np.inf).max(axis=1)
    nearest_N = nearest_N[np.isfinite(nearest_N)]
    return float(np.quantile(nearest_N, QUANTILE)) if len(nearest_N) >= FEWEST_CONTROLS else LEAKAGE.correlation


def audit(
    data_sets: Sequence[DataSet],
    corpus: Path | None,
    folder: Path,
    images: DecodedImages,
    model: LoadableModel | None = None,
    device: torch.device | None = None,
    workers: int = 0,
    radius: int = LEAKAGE.radius,
) -> LeakageSummary:
    """Write `leakage.jsonl` and `leakage.json` into the folder, unless they are there for these inputs.

    Looks for the images of all data sets in the training rows of the corpus, and for those of each split in the
    splits that a model may be fitted on. model: the model whose embeddings confirm near copies, on `device`;
    without one, correlation of small grey images does. Raises DataError for an image that cannot be read.
    """
    made_from = _made_from(data_sets, corpus, model, radius)
    done = read_summary(folder)
    if done and done.made_from == made_from:
        return done
    hashed_sets = [hashed_images(data_set, images.get, workers) for data_set in data_sets if data_set.images]
    keys = corpus_images(corpus) if corpus else None
    found = [(hashed, pair) for hashed in hashed_sets for pair in _duplicates(hashed, keys, radius)]
    describe: Describe = thumbnails
    if model is not None and found:
        describe = described_by(model.load(device or torch.device("cpu")))
    limit = _calibrated(hashed_sets, corpus, describe, images.get) if found else 1.0
    similarity_P = _similarities([pair for _, pair in found], describe, images.get)
    matches = [
        match
        for (hashed, pair), similarity in zip(found, similarity_P.tolist(), strict=True)
        for match in _matches(hashed, pair, similarity, limit, images.get)
    ]
    name = model.name if model else THUMBNAILS
    sets = summarised(matches, _sizes(hashed_sets, corpus is not None))
    summary = LeakageSummary(radius, name, limit, made_from, sets)
    write_audit(folder, summary, matches)
    return summary


def _duplicates(hashed: HashedImages, corpus: ReferenceImages | None, radius: int) -> Iterator[DuplicatePair]:
    if corpus is not None:
        yield from duplicates_in(hashed, np.arange(len(hashed.images)), corpus, radius)
    for split, other in BETWEEN:
        yield from duplicates_in(hashed, hashed.in_split(split), split_images(hashed, other), radius, split)


def _matches(hashed: HashedImages, pair: DuplicatePair, similarity: float, limit: float, read: Read) -> Iterator[Match]:
    """A row for each sample that shows the image."""
    exact = pair.bytes_equal
    if not (exact or pair.distance or pair.view):
        exact = np.array_equal(np.asarray(read(pair.image)), np.asarray(read(pair.partner)))
    for sample in hashed.samples_of[pair.image]:
        if pair.split is None or sample.split == pair.split:
            yield Match(
                dataset=hashed.data_set.card.id,
                sample=sample.id,
                split=sample.split,
                source=pair.source,
                partner=pair.name,
                kind="exact" if exact else "near",
                distance=pair.distance,
                view=list(VIEWS)[pair.view],
                similarity=1.0 if exact else similarity,
                confirmed=exact or similarity > limit,
            )


def _similarities(pairs: Sequence[DuplicatePair], describe: Describe, read: Read) -> Array:
    """Of each pair, the data set's image in the view that matched; (P,). Few images are in memory at once."""
    parts = [np.empty(0)]
    remaining = iter(pairs)
    while batch := list(islice(remaining, BATCH)):
        own_PD = describe([turned(read(pair.image), pair.view) for pair in batch])
        partner_PD = describe([read(pair.partner) for pair in batch])
        parts.append((own_PD * partner_PD).sum(axis=1))
    return np.concatenate(parts)


def _calibrated(hashed_sets: Sequence[HashedImages], corpus: Path | None, describe: Describe, read: Read) -> float:
    """The threshold, from images whose modality is known on both sides."""
    own = [(image, one.data_set.card.modality) for one in hashed_sets for image in one.images]
    own = [pair for pair in own if pair[1] in MODALITIES]
    rows = [] if corpus is None else list(enumerate(corpus_of(corpus).modalities.tolist()))
    inside = [(CorpusImage(corpus, row), modality) for row, modality in rows if corpus and modality in MODALITIES]
    controls, others = _spread(own, CONTROLS), [*_spread(own, OTHERS), *_spread(inside, OTHERS)]
    if not controls:
        return threshold(np.empty((0, len(VIEWS), 1)), [], np.empty((0, 1)), [])
    views_NVD = [describe([turned(read(image), view) for view in range(len(VIEWS))]) for image, _ in controls]
    other_OD = [
        describe([read(image) for image, _ in others[start : start + BATCH]]) for start in range(0, len(others), BATCH)
    ]
    return threshold(
        np.stack(views_NVD), [name for _, name in controls], np.concatenate(other_OD), [name for _, name in others]
    )


def _spread(items: Sequence[tuple[ImageRef, str]], most: int) -> list[tuple[ImageRef, str]]:
    """Evenly spread over the list: no draw, so nothing to seed."""
    count = min(most, len(items))
    return [items[place * len(items) // count] for place in range(count)]


def _sizes(hashed_sets: Sequence[HashedImages], with_corpus: bool) -> dict[tuple[str, Split, str], int]:
    """(data set, split, source) -> samples, for everything that was looked up."""
    sizes: dict[tuple[str, Split, str], int] = {}
    for hashed in hashed_sets:
        name = hashed.data_set.card.id
        count = Counter(sample.split for sample in hashed.data_set.samples if sample.images)
        asked = [(split, CORPUS) for split in SPLITS if with_corpus] + [pair for pair in BETWEEN if count[pair[1]]]
        sizes |= {(name, split, source): count[split] for split, source in asked if count[split]}
    return sizes


def _made_from(data_sets: Sequence[DataSet], corpus: Path | None, model: LoadableModel | None, radius: int) -> str:
    facts = [
        [[data_set.card.id, data_set.digest] for data_set in data_sets],
        corpus_of(corpus).digest if corpus else "",
        model.digest if model else THUMBNAILS,
        radius,
    ]
    return json_digest(facts)
