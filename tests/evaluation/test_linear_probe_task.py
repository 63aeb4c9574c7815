"""Linear probes: draws of training labels, the classifier against scikit-learn, and what test labels must not do."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from weightings import counts, once, resamples
from worlds import Named, card, embedded

from mmkd.cards.card import Card
from mmkd.cards.samples import Sample, Split
from mmkd.errors import DataError
from mmkd.evaluation.heads import logistic
from mmkd.evaluation.heads.folds import nested_draws
from mmkd.evaluation.models.embeddings import EmbeddedDataSet, normalised
from mmkd.evaluation.tasks.linear_probe import TASK
from mmkd.statistics.metrics import Array, one_vs_rest
from tolerance import assert_rounding

CARD = card("linear_probe", {"a": [], "b": [], "c": []})
MULTI = card("linear_probe", {"a": [], "b": [], "c": []}, multi_label=True)
SIZES: dict[Split, int] = {"train": 90, "test": 45}
QUICK: dict[str, Any] = {"draws": 2, "penalties": [0.1, 1.0]}


def world(
    sizes: dict[Split, int] = SIZES, seed: int = 0, noise: float = 1.0, of_card: Card = CARD, **chosen: object
) -> EmbeddedDataSet[Any]:
    """Classes with centres of their own. On the multi-label card a sample has each class its vector leans towards."""
    rng = np.random.default_rng(seed)
    centre = np.random.default_rng(77).normal(size=(3, 8))
    samples, vectors = [], {}
    for split, size in sizes.items():
        for i in range(size):
            picture = Named(f"{split}{i}")
            vectors[picture] = centre[i % 3] + noise * rng.normal(size=8)
            several = tuple(np.flatnonzero(centre @ vectors[picture] > 4).tolist())
            samples.append(Sample(picture.name, (picture,), split, several if of_card.multi_label else (i % 3,)))
    return embedded(of_card, samples, [vectors], **{**QUICK, **chosen})


def alike(first: dict[str, Array], second: dict[str, Array], prefix: str = "score:") -> bool:
    return all(np.array_equal(first[name], second[name]) for name in first if name.startswith(prefix))


def test_columns_of_every_draw_and_metrics_of_every_fraction() -> None:
    columns = TASK.predict(world(noise=2.0)).columns
    parts = ["0.01:0", "0.1:0", "0.01:1", "0.1:1", "1:0"]
    assert list(columns) == ["label", *(f"score:{part}:{name}" for part in parts for name in "abc")]
    measured = TASK.measure(columns, once(45))
    label = columns["label"]
    right = {
        part: np.stack([columns[f"score:{part}:{name}"] for name in "abc"], axis=1).argmax(axis=1) == label
        for part in parts
    }
    assert measured["accuracy"][0] == right["1:0"].mean()
    assert measured["accuracy_at_1%"][0] == pytest.approx((right["0.01:0"].mean() + right["0.01:1"].mean()) / 2)
    assert measured["accuracy_at_10%"][0] == pytest.approx((right["0.1:0"].mean() + right["0.1:1"].mean()) / 2)
    assert set(measured) == {
        *("accuracy", "balanced_accuracy", "macro_auc", "macro_f1", "ece", "brier", "nll"),
        *("accuracy_at_1%", "accuracy_at_10%"),
    }
    assert measured["accuracy"][0] > measured["accuracy_at_1%"][0] > 1 / 3


def test_at_a_fixed_penalty_the_probe_is_scikit_learns() -> None:
    one = world(penalties=[0.7], fractions=[1.0])
    columns = TASK.predict(one).columns
    train, test = one.split("train"), one.split("test")
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=0.7, tol=1e-8, max_iter=1000))
    oracle.fit(one.of_images(train).astype(float), [sample.label for sample in train])
    expected = oracle.predict_log_proba(one.of_images(test).astype(float))
    for c, name in enumerate("abc"):
        np.testing.assert_allclose(columns[f"score:1:0:{name}"], expected[:, c], atol=0.02)  # tol=1e-4 there
    label, weight = columns["label"], counts(45, 4, 0, kept=3)
    measured = TASK.measure(columns, weight)
    for b, drawn in enumerate(resamples(weight)):
        log_loss = metrics.log_loss(label[drawn], np.exp(expected[drawn]), labels=[0, 1, 2])
        assert measured["nll"][b] == pytest.approx(log_loss, abs=2e-3)


def test_the_same_seed_gives_the_same_scores_and_another_seed_other_draws() -> None:
    first, again = TASK.predict(world()).columns, TASK.predict(world()).columns
    assert alike(first, again)
    other = TASK.predict(replace(world(), seed=1)).columns
    assert not alike(first, other, "score:0.01:")


def test_every_model_gets_the_same_draws() -> None:
    one = world(noise=0.01)
    renamed = replace(one, model="another")
    assert alike(TASK.predict(one).columns, TASK.predict(renamed).columns)


@pytest.mark.parametrize("with_val", [False, True])
def test_labels_of_test_samples_change_no_score(with_val: bool) -> None:
    one = world({**SIZES, "val": 15} if with_val else SIZES)
    shifted = [
        replace(sample, labels=((sample.label + 1) % 3,)) if sample.split == "test" else sample
        for sample in one.samples
    ]
    assert alike(TASK.predict(one).columns, TASK.predict(replace(one, samples=shifted)).columns)


def test_a_label_of_a_val_sample_may_change_the_penalty_only() -> None:
    one = world({**SIZES, "val": 30}, penalties=[1e-4, 10.0], fractions=[1.0])
    wrong = [
        replace(sample, labels=((sample.label + 1) % 3,)) if sample.split == "val" else sample for sample in one.samples
    ]
    sure, unsure = (TASK.predict(replace(one, samples=samples)).columns for samples in (one.samples, wrong))
    spread = [np.ptp([columns[f"score:1:0:{name}"] for name in "abc"], axis=0).mean() for columns in (sure, unsure)]
    assert spread[0] > 3
    assert spread[1] < 1  # with misleading val labels the flattest classifier is best


def test_several_classes_a_sample() -> None:
    columns = TASK.predict(world(of_card=MULTI)).columns
    assert TASK.labels(columns) is None
    assert TASK.class_scores(columns) is None
    measured = TASK.measure(columns, once(45))
    assert set(measured) == {"accuracy", "macro_auc", "macro_ap", "accuracy_at_1%", "accuracy_at_10%"}
    member, score = (
        np.stack([columns[f"{kind}{name}"] for name in "abc"], axis=1) for kind in ("label:", "score:1:0:")
    )
    assert measured["macro_auc"][0] == pytest.approx(metrics.roc_auc_score(member, score))
    assert measured["macro_ap"][0] == pytest.approx(metrics.average_precision_score(member, score))
    assert measured["macro_auc"][0] > 0.85


def test_a_class_without_training_samples_is_noted_and_loses() -> None:
    one = world()
    kept = [sample for sample in one.samples if sample.split == "test" or sample.label != 1]
    predicted = TASK.predict(replace(one, samples=kept))
    assert predicted.note == "no training sample of b: scored below all others"
    measured = TASK.measure(predicted.columns, once(45))
    assert measured["accuracy"][0] <= 2 / 3
    assert all(np.isfinite(value).all() for value in measured.values())


def test_fits_that_end_early_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "MOST_ITERATIONS", 1)
    predicted = TASK.predict(world(fractions=[1.0], penalties=[1.0]))
    assert predicted.note == "1 of 1 fits did not converge"


def test_no_training_sample_is_an_error() -> None:
    with pytest.raises(DataError, match="set: no training sample for the linear probe"):
        TASK.predict(world({"test": 9}))


def test_a_model_without_texts_may_be_probed() -> None:
    assert not TASK.needs_texts
    assert TASK.complaint(card("linear_probe", {"a": []})) == "needs at least two [[classes]], found 1"
    assert TASK.complaint(CARD) == ""


def test_an_ensemble_is_probed_on_its_vectors_side_by_side() -> None:
    one, two = world(seed=0), world(seed=1)
    both = replace(one, members=[*one.members, *two.members])
    rows = [one.of_images(one.samples), two.of_images(two.samples)]
    joined = np.concatenate(rows, axis=1)
    assert_rounding(both.of_images(one.samples), normalised(joined), dtype=np.float32)
    by_hand = embedded(CARD, one.samples, [{s.image: row for s, row in zip(one.samples, joined, strict=True)}], **QUICK)
    expected = TASK.predict(by_hand).columns
    for name, values in TASK.predict(both).columns.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-3)


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=80)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 5))
def test_draws_are_nested_hold_every_class_and_whole_groups(rows: list[tuple[int, int]], seed: int) -> None:
    label, group = (np.array(column) for column in zip(*rows, strict=True))
    fractions = [0.01, 0.2, 0.5, 1.0]
    drawn = nested_draws(one_vs_rest(label, 4), group, fractions, np.random.default_rng(seed))
    for smaller, larger in pairwise(drawn):
        assert not (smaller & ~larger).any()
    for fraction, taken in zip(fractions, drawn, strict=True):
        assert set(label[taken]) == set(label)
        assert not set(group[taken]) & set(group[~taken])
        for one in np.unique(label):
            assert np.count_nonzero(taken[label == one]) >= max(1, round(fraction * np.count_nonzero(label == one)) - 1)
    assert drawn[-1].all()


@pytest.mark.parametrize(("fraction", "expected"), [(0.01, [1, 1, 1]), (0.1, [10, 3, 1]), (0.5, [50, 15, 1])])
def test_a_draw_of_single_samples_has_exactly_its_share(fraction: float, expected: Sequence[int]) -> None:
    label = np.repeat([0, 1, 2], [100, 30, 1])
    (taken,) = nested_draws(one_vs_rest(label, 3), np.arange(131), [fraction], np.random.default_rng(4))
    assert np.bincount(label[taken]).tolist() == expected


def test_samples_without_a_class_are_drawn_like_a_class() -> None:
    member = np.zeros((100, 2), np.bool_)
    member[:10, 0] = True
    (taken,) = nested_draws(member, np.arange(100), [0.1], np.random.default_rng(0))
    assert (np.count_nonzero(taken[:10]), np.count_nonzero(taken[10:])) == (1, 9)
