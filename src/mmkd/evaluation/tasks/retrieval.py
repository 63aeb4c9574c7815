"""Image-to-text and text-to-image retrieval; N pairs, Q queries of a block, P positives of it, D dimensions, B
bootstrap replicates."""

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field, PositiveInt

from mmkd.cards.card import Card
from mmkd.cards.samples import Sample, only_pictures
from mmkd.errors import DataError
from mmkd.evaluation.format.predictions import Predicted
from mmkd.evaluation.gallery.examples import best_and_worst_queries
from mmkd.evaluation.models.embeddings import EmbeddedDataSet
from mmkd.evaluation.tasks.task import Columns, Task
from mmkd.randomness import Purpose, generator
from mmkd.settings import Settings
from mmkd.statistics.metrics import Array, median, recall_at

DIRECTIONS = ("image_to_text", "text_to_image")
CUTS = (1, 5, 10, 50)
AVERAGED = (1, 5, 10)  # the cuts in mean_recall
GALLERY = "gallery"  # column: how many pairs a query is ranked among
CAPTIONED = ("table", "corpus")  # the readers whose samples have captions
BLOCK_CELLS = 2**25  # scores held at once: 128 MiB, whatever the gallery's size


class RetrievalSettings(Settings):
    """gallery: pairs that a query is ranked among, since recall depends on their number; without it all of the data
    set. draws: random divisions into galleries of that size, whose metrics are averaged."""

    gallery: int | None = Field(None, ge=2)
    draws: PositiveInt = 5


def best_positive_ranks(query_ND: Array, gallery_ND: Array, key_N: Array, queries: int | None = None) -> Array:
    """The rank of each query's best positive among the gallery's negatives, from 1 on; float32 (N,), or of as many
    queries from the beginning.

    Query i and gallery item j are positives of each other where their keys are equal. Negatives that score exactly as
    high as the best positive count half: the mean rank over all ways to order them, so a constant model gains nothing.
    Memory grows with N, not with its square.
    """
    positives_of = _positives(key_N)
    block = max(1, BLOCK_CELLS // len(key_N))
    ranks = []
    asked = len(key_N) if queries is None else queries
    for start in range(0, asked, block):
        end = min(asked, start + block)
        score_QN = query_ND[start:end] @ gallery_ND.T
        lists = [positives_of[code] for code in key_N[start:end].tolist()]
        count_Q = np.array([len(own) for own in lists])
        first_Q = np.cumsum(count_Q) - count_Q
        score_P = score_QN[np.repeat(np.arange(len(lists)), count_Q), np.concatenate(lists)]
        best_Q = np.maximum.reduceat(score_P, first_Q)
        beside_P = score_P == np.repeat(best_Q, count_Q)  # positives; none of them is above the best
        above_Q = np.count_nonzero(score_QN > best_Q[:, None], axis=1)
        equal_Q = np.count_nonzero(score_QN == best_Q[:, None], axis=1) - np.add.reduceat(beside_P, first_Q, dtype=int)
        ranks.append(1 + above_Q + equal_Q / 2)
    return np.concatenate(ranks).astype(np.float32)


def _positives(key_N: Array) -> dict[int, Array]:
    """key -> the places that have it."""
    order_N = np.argsort(key_N, kind="stable")
    keys, first = np.unique(key_N[order_N], return_index=True)
    return dict(zip(keys.tolist(), np.split(order_N, first[1:]), strict=True))


def galleries(pairs: int, size: int, rng: np.random.Generator) -> Iterator[tuple[Array, int]]:
    """The pairs in random order, cut into galleries of `size`, and how many of each are queries, from its beginning.

    Every pair is a query once. The last gallery, where it is short, is filled with other pairs that are not asked for.
    """
    order_N = rng.permutation(pairs)
    for start in range(0, pairs, size):
        own = order_N[start : start + size]
        yield np.concatenate([own, rng.permutation(order_N[:start])[: size - len(own)]]), len(own)


def _gallery_ranks(query_ND: Array, gallery_ND: Array, key_N: Array, size: int, rng: np.random.Generator) -> Array:
    """`best_positive_ranks` of every query: in the whole gallery, or within one random gallery of `size`."""
    if size == len(key_N):
        return best_positive_ranks(query_ND, gallery_ND, key_N)
    rank_N = np.empty(len(key_N), np.float32)
    for members, queries in galleries(len(key_N), size, rng):
        found = best_positive_ranks(query_ND[members], gallery_ND[members], key_N[members], queries)
        rank_N[members[:queries]] = found
    return rank_N


def rank_columns(image_ND: Array, text_ND: Array, key_N: Array, settings: RetrievalSettings, seed: int) -> Columns:
    """`<direction>_rank` in the whole gallery, or with a gallery size `<direction>_rank`, `<direction>_rank:1`, ... of
    as many random divisions as the settings say, the same for every model; and the size."""
    size = min(settings.gallery or len(key_N), len(key_N))
    sides = dict(zip(DIRECTIONS, ((image_ND, text_ND), (text_ND, image_ND)), strict=True))
    columns = {GALLERY: np.full(len(key_N), size, np.int32)}
    for draw in range(settings.draws if size < len(key_N) else 1):
        for direction, (query_ND, gallery_ND) in sides.items():
            rng = generator(seed, Purpose.GALLERY, draw)  # both directions see the same galleries
            name = f"{direction}_rank:{draw}" if draw else f"{direction}_rank"
            columns[name] = _gallery_ranks(query_ND, gallery_ND, key_N, size, rng)
    return columns


def _complaint(card: Card) -> str:
    reader = card.layout.reader
    return "" if reader in CAPTIONED else f"needs captions, which the reader {reader!r} does not give"


def _texts(card: Card, samples: Sequence[Sample]) -> list[str]:
    return [_caption(sample) for sample in samples if sample.split == "test"]


def _caption(sample: Sample) -> str:
    if sample.caption is None:
        raise DataError(
            f"sample {sample.id!r} has no caption, or a word for none such as N/A; retrieval needs "
            "one for every row: give it one, or take the row out"
        )
    return sample.caption


def _check(card: Card, samples: Sequence[Sample], settings: RetrievalSettings, seed: int) -> None:
    test = [sample for sample in samples if sample.split == "test"]
    _key_of(card, [_caption(sample) for sample in test])
    only_pictures(test)


def _key_of(card: Card, captions: Sequence[str]) -> Array:
    """Equal numbers for equal captions (N,). Raises DataError where all are equal."""
    codes = {caption: code for code, caption in enumerate(dict.fromkeys(captions))}
    if len(codes) < 2:
        raise DataError(
            f"{card.id}, retrieval: {len(captions)} test pairs with {len(codes)} different captions, "
            "expected two or more; there is nothing to tell apart"
        )
    return np.array([codes[caption] for caption in captions])


def _predict(embedded: EmbeddedDataSet[RetrievalSettings]) -> Predicted:
    samples = embedded.split("test")
    captions = [_caption(sample) for sample in samples]
    key_N = _key_of(embedded.card, captions)
    image_ND, text_ND = embedded.of_images(samples), embedded.of_texts(captions)
    columns = rank_columns(image_ND, text_ND, key_N, embedded.settings, embedded.seed)
    # pairs with one caption are not independent queries
    return Predicted.of(samples, dict(columns), [sample.group or _caption(sample) for sample in samples])


def _measure(columns: Columns, weight_BN: Array) -> dict[str, Array]:
    """Replicates draw the queries; the gallery stays whole, since recall depends on its size."""
    size = int(columns[GALLERY][0])
    cuts = [k for k in CUTS if k < size]
    recall: dict[str, Array] = {}
    middle: dict[str, Array] = {}
    for direction in DIRECTIONS:
        ranks = [rank_N for name, rank_N in columns.items() if name.startswith(f"{direction}_rank")]
        for k in cuts:
            recall[f"{direction}_recall@{k}"] = np.mean([recall_at(k, rank_N, weight_BN) for rank_N in ranks], axis=0)
        middle[f"{direction}_median_rank"] = np.mean([median(rank_N, weight_BN) for rank_N in ranks], axis=0)
    averaged = [recall[f"{direction}_recall@{k}"] for direction in DIRECTIONS for k in cuts if k in AVERAGED]
    shares = {f"{name}_share": value_B / size for name, value_B in middle.items()}
    return {"mean_recall": np.mean(averaged, axis=0), **recall, **middle, **shares}


TASK = Task(
    title="Retrieval",
    section="retrieval",
    settings=RetrievalSettings,
    gallery=best_and_worst_queries,
    printed=(
        "mean_recall",
        *(f"{direction}_recall@{k}" for direction in DIRECTIONS for k in (1, 10)),
        *(f"{direction}_median_rank" for direction in DIRECTIONS),
    ),
    complaint=_complaint,
    check=_check,
    texts=_texts,
    predict=_predict,
    measure=_measure,
    primary="mean_recall",
    lower_is_better=tuple(f"{direction}_median_rank{end}" for direction in DIRECTIONS for end in ("", "_share")),
    protocol="gallery = all pairs, or the mean over random galleries of the size that the settings name, every pair a "
    "query in each division; equal captions are joint positives; rank of the best positive among the negatives, ties "
    "half; recall@k for k below the gallery's size; mean_recall = mean of recall@1, 5, 10 both ways; median_rank from "
    "1, median_rank_share as a share of the gallery (lower is better)",
)
