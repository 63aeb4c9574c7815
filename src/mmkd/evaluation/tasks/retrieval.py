"""Image-to-text and text-to-image retrieval; N pairs, Q queries of a block, D dimensions, B bootstrap replicates."""

from collections.abc import Sequence

import numpy as np

from mmkd.errors import DataError
from mmkd.evaluation.card import Card
from mmkd.evaluation.predictions import Predicted
from mmkd.evaluation.samples import Sample
from mmkd.evaluation.statistics.metrics import Array, median, recall_at
from mmkd.evaluation.subject import Subject
from mmkd.evaluation.tasks.task import Columns, Task

DIRECTIONS = ("image_to_text", "text_to_image")
CUTS = (1, 5, 10)
CAPTIONED = ("table", "corpus")  # the readers whose samples have captions
BLOCK_CELLS = 2**22  # scores held at once: 16 MiB, whatever the gallery's size


def best_positive_ranks(query_ND: Array, gallery_ND: Array, key_N: Array) -> Array:
    """The rank of each query's best positive among the gallery's negatives, from 1 on; float32 (N,).

    Query i and gallery item j are positives of each other where their keys are equal. Negatives that score exactly as
    high as the best positive count half: the mean rank over all ways to order them, so a constant model gains nothing.
    """
    block = max(1, BLOCK_CELLS // len(key_N))
    ranks = []
    for start in range(0, len(key_N), block):
        score_QN = query_ND[start : start + block] @ gallery_ND.T
        positive_QN = key_N[start : start + block, None] == key_N
        best_Q1 = np.where(positive_QN, score_QN, -np.inf).max(axis=1, keepdims=True)
        above_Q = np.count_nonzero((score_QN > best_Q1) & ~positive_QN, axis=1)
        equal_Q = np.count_nonzero((score_QN == best_Q1) & ~positive_QN, axis=1)
        ranks.append(1 + above_Q + equal_Q / 2)
    return np.concatenate(ranks).astype(np.float32)


def _complaint(card: Card) -> str:
    reader = card.layout.reader
    return "" if reader in CAPTIONED else f"needs captions, which the reader {reader!r} does not give"


def _texts(card: Card, samples: Sequence[Sample]) -> list[str]:
    return [_caption(sample) for sample in samples if sample.split == "test"]


def _caption(sample: Sample) -> str:
    if sample.caption is None:
        raise DataError(f"sample {sample.id!r} has no caption; retrieval needs one for every row")
    return sample.caption


def _predict(subject: Subject) -> Predicted:
    samples = subject.split("test")
    captions = [_caption(sample) for sample in samples]
    codes = {caption: code for code, caption in enumerate(dict.fromkeys(captions))}
    key_N = np.array([codes[caption] for caption in captions])
    image_ND, text_ND = subject.of_images(samples), subject.of_texts(captions)
    columns = {
        "image_to_text_rank": best_positive_ranks(image_ND, text_ND, key_N),
        "text_to_image_rank": best_positive_ranks(text_ND, image_ND, key_N),
    }
    # pairs with one caption are not independent queries
    return Predicted.of(samples, columns, [sample.group or _caption(sample) for sample in samples])


def _measure(columns: Columns, weight_BN: Array) -> dict[str, Array]:
    """Array resample the queries; the gallery stays whole, since recall depends on its size."""
    recall = {
        f"{direction}_recall@{k}": recall_at(k, columns[f"{direction}_rank"], weight_BN)
        for direction in DIRECTIONS
        for k in CUTS
    }
    median_rank = {
        f"{direction}_median_rank": median(rank_N, weight_BN) / len(rank_N)
        for direction in DIRECTIONS
        for rank_N in [columns[f"{direction}_rank"]]
    }
    return {"mean_recall": np.mean(list(recall.values()), axis=0), **recall, **median_rank}


TASK = Task(
    title="Retrieval",
    complaint=_complaint,
    texts=_texts,
    predict=_predict,
    measure=_measure,
    primary="mean_recall",
    lower_is_better=tuple(f"{direction}_median_rank" for direction in DIRECTIONS),
    protocol="gallery = all pairs; equal captions are joint positives; rank of the best positive, ties half; "
    "mean_recall = mean of recall@1, 5, 10 both ways; median_rank as a share of the gallery (lower is better)",
)
