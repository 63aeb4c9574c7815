"""Ranks of the best positive: by hand, and against a plain loop; galleries; metrics."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.cards.card import Card
from mmkd.cards.samples import FileImage, Sample
from mmkd.errors import DataError
from mmkd.evaluation.models.embeddings import EmbeddedDataSet, Embeddings, normalised
from mmkd.evaluation.tasks import retrieval
from mmkd.evaluation.tasks.retrieval import TASK, RetrievalSettings, best_positive_ranks, galleries, rank_columns
from mmkd.statistics.metrics import Array

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
    return [
        Sample(str(i), (FileImage(Path(f"{i}.png")),), caption=caption, group=group)
        for i, caption in enumerate(captions)
    ]


def embedded(
    captions: list[str], members: list[Embeddings], gallery: int | None = None, group: str = ""
) -> EmbeddedDataSet[RetrievalSettings]:
    asked = samples(list(captions), group)
    settings = RetrievalSettings(gallery=gallery)
    return EmbeddedDataSet("model", CARD, asked, [sample.image for sample in asked], members, settings, seed=0)


def unit(rows: int, dim: int, seed: int) -> Array:
    return normalised(np.random.default_rng(seed).normal(size=(rows, dim))).astype(np.float32)


def measured(columns: dict[str, Array]) -> dict[str, float]:
    weights = np.ones((1, len(columns["gallery"])), np.uint16)
    return {name: float(value[0]) for name, value in TASK.measure(columns, weights).items()}


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


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
def test_galleries_ask_every_pair_once_among_as_many(pairs: int, size: int, seed: int) -> None:
    cut = list(galleries(pairs, min(size, pairs), np.random.default_rng(seed)))
    assert sorted(np.concatenate([members[:queries] for members, queries in cut]).tolist()) == list(range(pairs))
    for members, _ in cut:
        assert len(set(members.tolist())) == len(members) == min(size, pairs)


def test_a_gallery_of_all_pairs_is_the_whole_one() -> None:
    image, text, keys = unit(12, 4, 0), unit(12, 4, 1), np.arange(12)
    whole = rank_columns(image, text, keys, RetrievalSettings(), seed=0)
    sized = rank_columns(image, text, keys, RetrievalSettings(gallery=500), seed=0)
    assert list(whole) == ["gallery", "image_to_text_rank", "text_to_image_rank"]
    for name, value in whole.items():
        np.testing.assert_array_equal(value, sized[name])


def test_small_galleries_have_the_expected_recall_of_the_hypergeometric_law() -> None:
    """With one positive, g - 1 of the n - 1 negatives are in the gallery; recall@1 = P(none of those above is)."""
    from scipy.stats import hypergeom

    image, text = unit(60, 3, 2), unit(60, 3, 3)
    image += 0.8 * text
    above = best_positive_ranks(image, text, np.arange(60)) - 1
    expected = hypergeom(59, above.astype(int), 9).cdf(0).mean()
    columns = dict(rank_columns(image, text, np.arange(60), RetrievalSettings(gallery=10, draws=60), seed=1))
    found = measured(columns)
    assert set(columns["gallery"].tolist()) == {10}
    assert found["image_to_text_recall@1"] == pytest.approx(expected, abs=0.02)
    assert "image_to_text_recall@10" not in found


def test_models_are_ranked_in_the_same_galleries() -> None:
    """A model and its rotation are the same model."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0].astype(np.float32)
    image, text, keys = unit(20, 8, 0), unit(20, 8, 1), np.arange(20)
    settings = RetrievalSettings(gallery=6, draws=3)
    first, second = (
        rank_columns(i, t, keys, settings, seed=4) for i, t in ((image, text), (image @ turn, text @ turn))
    )
    assert len(first) == 7
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_perfect_embeddings_have_recall_one_and_the_metrics_are_named() -> None:
    captions = [*"abacdef"]
    text = unit(6, 8, seed=0)
    embeddings = Embeddings(text[["abcdef".index(caption) for caption in captions]], text, [*"abcdef"])
    assert measured(TASK.predict(embedded(captions, [embeddings])).columns) == {
        "mean_recall": 1.0,
        "image_to_text_recall@1": 1.0,
        "image_to_text_recall@5": 1.0,
        "text_to_image_recall@1": 1.0,
        "text_to_image_recall@5": 1.0,
        "image_to_text_median_rank": 1.0,
        "text_to_image_median_rank": 1.0,
        "image_to_text_median_rank_share": pytest.approx(1 / 7),
        "text_to_image_median_rank_share": pytest.approx(1 / 7),
    }


def test_mean_recall_is_over_one_five_and_ten_whatever_the_gallery() -> None:
    rank = np.arange(1, 101, dtype=np.float32)
    columns = {"gallery": np.full(100, 100), "image_to_text_rank": rank, "text_to_image_rank": rank}
    found = measured(columns)
    assert found["text_to_image_recall@50"] == 0.5
    assert found["mean_recall"] == pytest.approx((0.01 + 0.05 + 0.1) / 3)
    assert found["image_to_text_median_rank"] == 50.5


def test_an_ensemble_ranks_by_the_mean_cosine() -> None:
    captions = [str(i) for i in range(20)]
    members = [Embeddings(unit(20, d, d), unit(20, d, d + 1), captions) for d in (3, 7)]
    columns = TASK.predict(embedded(captions, members)).columns
    mean = (members[0].image_ID @ members[0].text_TD.T + members[1].image_ID @ members[1].text_TD.T) / 2
    assert columns["image_to_text_rank"].tolist() == loop_ranks(mean, captions)
    assert columns["text_to_image_rank"].tolist() == loop_ranks(mean.T, captions)


def test_pairs_with_one_caption_are_resampled_together_unless_groups_say_otherwise() -> None:
    embeddings = Embeddings(unit(3, 4, 0), unit(2, 4, 1), ["a", "b"])
    assert TASK.predict(embedded(["a", "a", "b"], [embeddings])).group == ["a", "a", "b"]
    assert TASK.predict(embedded(["a", "a", "b"], [embeddings], group="patient 1")).group == ["patient 1"] * 3


def test_a_pair_without_caption_is_an_error() -> None:
    with pytest.raises(DataError, match="sample '1' has no caption"):
        TASK.texts(CARD, samples(["a", None]))


def test_one_caption_is_nothing_to_tell_apart() -> None:
    with pytest.raises(DataError, match="pairs, retrieval: 2 test pairs with 1 different captions"):
        TASK.predict(embedded(["a", "a"], [Embeddings(unit(2, 4, 0), unit(1, 4, 1), ["a"])]))


def test_real_captions_that_stand_several_times_find_the_same_pictures(realdata: Path) -> None:
    """571 of the 1,223 captions are 181 sentences: a sentence has one rank, and guessing stays guessing."""
    lines = (realdata / "pairs" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    captions = [json.loads(line)["caption"] for line in lines]
    codes = {caption: code for code, caption in enumerate(dict.fromkeys(captions))}
    keys = np.array([codes[caption] for caption in captions])
    image, text = unit(len(keys), 16, 0), unit(len(codes), 16, 1)[keys]
    columns = rank_columns(image, text, keys, RetrievalSettings(), seed=0)
    ranks = [columns["text_to_image_rank"][keys == code] for code in range(len(codes))]
    assert all(len(set(of_one.tolist())) == 1 for of_one in ranks)
    alone = [rank[0] for rank in ranks if len(rank) == 1]
    assert len(alone) > 600
    assert np.mean(alone) / len(keys) == pytest.approx(0.5, abs=0.04)
