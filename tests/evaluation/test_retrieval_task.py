"""Ranks of the best positive: by hand, and against a plain loop."""

from pathlib import Path

import numpy as np
import pytest

from mmkd.errors import DataError
from mmkd.evaluation.card import Card
from mmkd.evaluation.embeddings import Embeddings, normalised
from mmkd.evaluation.readers import Sample
from mmkd.evaluation.statistics.metrics import Array
from mmkd.evaluation.tasks import retrieval
from mmkd.evaluation.tasks.retrieval import TASK, best_positive_ranks

CARD = Card.model_validate(
    {
        "id": "pairs",
        "modality": "mixed",
        "tasks": ["retrieval"],
        "licence": "CC0",
        "layout": {"reader": "table", "path": "/pairs.csv"},
    }
)


def samples(captions: list[str | None], group: str = "") -> list[Sample]:
    return [Sample(str(i), Path(f"{i}.png"), caption=caption, group=group) for i, caption in enumerate(captions)]


def unit(rows: int, dim: int, seed: int) -> Array:
    return normalised(np.random.default_rng(seed).normal(size=(rows, dim))).astype(np.float32)


def loop_ranks(score_NN: Array, captions: list[str]) -> list[float]:
    """The rule read aloud: sort negatives by score, count those above the best positive, half of those beside it."""
    ranks = []
    for i, caption in enumerate(captions):
        best = max(score_NN[i, j] for j, other in enumerate(captions) if other == caption)
        negatives = [score_NN[i, j] for j, other in enumerate(captions) if other != caption]
        ranks.append(1 + sum(s > best for s in negatives) + 0.5 * sum(s == best for s in negatives))
    return ranks


def test_ranks_by_hand() -> None:
    gallery = np.eye(3, dtype=np.float32)
    query = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.9, 0.5, 0.1]], np.float32)
    assert best_positive_ranks(query, gallery, np.array([0, 1, 2])).tolist() == [1.0, 2.0, 3.0]


def test_equal_captions_are_joint_positives() -> None:
    gallery = np.eye(3, dtype=np.float32)
    query = np.array([[0.9, 0.5, 0.1]] * 3, np.float32)
    assert best_positive_ranks(query, gallery, np.array([0, 1, 0])).tolist() == [1.0, 2.0, 1.0]


def test_a_constant_model_is_at_chance() -> None:
    same = np.ones((9, 2), np.float32)
    assert best_positive_ranks(same, same, np.arange(9)).tolist() == [5.0] * 9


def test_ranks_equal_a_plain_loop_with_ties_and_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    image, text = (rng.integers(-1, 2, (30, 4)).astype(np.float32) for _ in range(2))
    captions = [str(code) for code in rng.integers(0, 20, 30)]
    keys = np.array([int(caption) for caption in captions])
    expected = loop_ranks(image @ text.T, captions)
    assert best_positive_ranks(image, text, keys).tolist() == expected
    monkeypatch.setattr(retrieval, "BLOCK_CELLS", 70)
    assert best_positive_ranks(image, text, keys).tolist() == expected


def test_perfect_embeddings_have_recall_one_and_the_metrics_are_named() -> None:
    captions: list[str | None] = ["a", "b", "a", "c"]
    text = unit(3, 8, seed=0)
    embeddings = Embeddings(text[[0, 1, 0, 2]], text, ["a", "b", "c"])
    columns = TASK.predict(CARD, samples(captions), [embeddings])
    measured = {name: value[0] for name, value in TASK.measure(columns, np.ones((1, 4), np.uint16)).items()}
    assert measured == {
        "mean_recall": 1.0,
        "image_to_text_recall@1": 1.0,
        "image_to_text_recall@5": 1.0,
        "image_to_text_recall@10": 1.0,
        "text_to_image_recall@1": 1.0,
        "text_to_image_recall@5": 1.0,
        "text_to_image_recall@10": 1.0,
        "image_to_text_median_rank": 0.25,
        "text_to_image_median_rank": 0.25,
    }


def test_an_ensemble_ranks_by_the_mean_cosine() -> None:
    captions: list[str | None] = [str(i) for i in range(20)]
    members = [Embeddings(unit(20, d, d), unit(20, d, d + 1), [str(i) for i in range(20)]) for d in (3, 7)]
    columns = TASK.predict(CARD, samples(captions), members)
    mean = (members[0].image_ND @ members[0].text_TD.T + members[1].image_ND @ members[1].text_TD.T) / 2
    assert columns["image_to_text_rank"].tolist() == loop_ranks(mean, [str(i) for i in range(20)])
    assert columns["text_to_image_rank"].tolist() == loop_ranks(mean.T, [str(i) for i in range(20)])


def test_pairs_with_one_caption_are_resampled_together_unless_groups_say_otherwise() -> None:
    assert [TASK.group(sample) for sample in samples(["a", "a", "b"])] == ["a", "a", "b"]
    assert [TASK.group(sample) for sample in samples(["a", "b"], group="patient 1")] == ["patient 1"] * 2


def test_a_pair_without_caption_is_an_error() -> None:
    with pytest.raises(DataError, match="sample '1' has no caption"):
        TASK.texts(CARD, samples(["a", None]))
