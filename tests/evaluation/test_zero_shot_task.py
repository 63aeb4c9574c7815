"""Prompt ensembles and class scores."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics
from weightings import counts, once, resamples
from worlds import Named, card, embedded, unit

from mmkd.cards.samples import ImageRef, Sample, Split
from mmkd.errors import DataError
from mmkd.evaluation.models.embeddings import normalised
from mmkd.evaluation.tasks.classes import centred
from mmkd.evaluation.tasks.zero_shot import TASK, class_embedding
from mmkd.statistics.calibration import fit_temperature
from mmkd.statistics.metrics import Array
from tolerance import assert_rounding

CARD = card("zero_shot", {"left": ["l1", "l2"], "right": ["r"]})
THREE = card("zero_shot", {"a": ["a1", "a2"], "b": ["b1", "b2"], "c": ["c1", "c2"]})
MULTI = card("zero_shot", {"a": ["a1", "a2"], "b": ["b1", "b2"], "c": ["c1", "c2"]}, multi_label=True)
TEXTS = ["l1", "l2", "r"]
PROMPTS = ["a1", "a2", "b1", "b2", "c1", "c2"]


def samples(labels: Sequence[int | tuple[int, ...]], split: Split = "test") -> list[Sample]:
    return [
        Sample(f"{split}{i}", (Named(f"{split}{i}"),), split, label if isinstance(label, tuple) else (label,))
        for i, label in enumerate(labels)
    ]


def pictures(of: Sequence[Sample], vectors: Array) -> Mapping[ImageRef, Array]:
    return {Named(sample.id): vector for sample, vector in zip(of, vectors, strict=True)}


def three_classes(
    splits: Sequence[Split], seed: int = 0, per_split: int = 60
) -> tuple[list[Sample], Mapping[ImageRef, Array]]:
    """Images near the mean direction of their class's prompts."""
    rng = np.random.default_rng(seed)
    chosen = [one for split in splits for one in samples([i % 3 for i in range(per_split)], split)]
    centre = unit(6, 8, 99).reshape(3, 2, 8).sum(axis=1)
    return chosen, pictures(chosen, centre[[one.label for one in chosen]] + rng.normal(size=(len(chosen), 8)))


def prompt_vectors() -> dict[str, Array]:
    return dict(zip(PROMPTS, unit(6, 8, 99), strict=True))


def test_class_embedding_by_hand() -> None:
    # unit prompts (1, 0) and (0, 1), whatever their length before: the mean points along the diagonal
    np.testing.assert_allclose(class_embedding(np.array([[5.0, 0.0], [0.0, 0.1]])), [0.5**0.5, 0.5**0.5])


def test_predictions_by_hand() -> None:
    three = samples([0, 1, 1])
    text = dict(zip(TEXTS, np.array([[1, 0], [0.6, 0.8], [0, 1]]), strict=True))
    image = pictures(three, np.array([[1.0, 0], [0, 1], [1, 0]]))
    columns = TASK.predict(embedded(CARD, three, [image], [text])).columns
    assert list(columns) == ["label", "score:left", "score:right"]
    left = np.array([1.6, 0.8]) / np.hypot(1.6, 0.8)
    np.testing.assert_allclose(columns["score:left"], [left[0], left[1], left[0]], rtol=1e-6)
    np.testing.assert_allclose(columns["score:right"], [0, 1, 0])
    assert columns["score:left"].dtype == np.float32
    measured = {name: value[0] for name, value in TASK.measure(columns, once(3)).items()}
    assert measured == {
        "accuracy": pytest.approx(2 / 3),
        "balanced_accuracy": 0.75,
        "macro_auc": 0.75,
        "macro_f1": pytest.approx(2 / 3),  # of left 2 / (2 + 1), of right 2 / (2 + 1)
    }


def test_an_ensemble_equals_the_cosine_of_concatenated_unit_vectors() -> None:
    three = samples([0, 1, 1])
    image = [unit(3, dim, dim) for dim in (4, 9)]
    text = [dict(zip(TEXTS, unit(3, dim, dim + 1), strict=True)) for dim in (4, 9)]
    together = TASK.predict(embedded(CARD, three, [pictures(three, one) for one in image], text)).columns
    joined = normalised(np.concatenate(image, axis=1))
    for name, prompts in (("left", ["l1", "l2"]), ("right", ["r"])):
        parts = [class_embedding(np.stack([one[prompt] for prompt in prompts])) for one in text]
        expected = joined @ normalised(np.concatenate(parts))
        assert_rounding(together[f"score:{name}"], expected, size=1.0)


def test_equal_scores_go_to_the_first_class() -> None:
    columns = {"label": np.array([0, 1]), "score:a": np.zeros(2), "score:b": np.zeros(2)}
    measured = TASK.measure(columns, once(2))
    assert measured["accuracy"][0] == 0.5
    assert measured["macro_auc"][0] == 0.5


def test_an_offset_of_the_picture_does_not_order_samples() -> None:
    """The right class is always 0.1 ahead; two of four pairs stand the wrong way round by raw cosines of a class."""
    offset = np.array([0.0, 0.5, 0.2, 0.3], np.float32)
    label = np.array([0, 0, 1, 1])
    columns = {"label": label, "score:a": offset + (label == 0) / 10, "score:b": offset + (label == 1) / 10}
    assert metrics.roc_auc_score(label == 0, columns["score:a"]) == 0.5
    measured = TASK.measure(columns, once(4))
    assert (measured["accuracy"][0], measured["macro_auc"][0]) == (1, 1)


def test_all_scores_of_a_table_are_those_of_the_auc() -> None:
    chosen, image = three_classes(["test"])
    columns = TASK.predict(embedded(THREE, chosen, [image], [prompt_vectors()])).columns
    scores = TASK.class_scores(columns)
    assert scores is not None
    member = columns["label"][:, None] == np.arange(3)
    measured = TASK.measure(columns, once(60))
    assert measured["macro_auc"][0] == pytest.approx(metrics.roc_auc_score(member, scores.score_NC), abs=1e-12)
    raw = np.stack([columns[f"score:{name}"] for name in "abc"], axis=1)
    np.testing.assert_array_equal(scores.predicted(), raw.argmax(axis=1))


def test_equal_samples_tie_after_centring_and_unequal_ones_do_not() -> None:
    """Offsets that float64 adds exactly: pairs of samples that differ by them alone are equal to the bit."""
    base = np.random.default_rng(0).integers(-1000, 1000, (200, 7)) / 2**12
    score = np.concatenate([base, base + 0.25]).astype(np.float32)
    found = centred(score)
    np.testing.assert_array_equal(found[:200], found[200:])
    assert len(np.unique(found[:200, 0])) == len(np.unique(7 * base[:, 0] - base.sum(axis=1)))
    near = np.nextafter(np.float32(0.3), np.float32(1))
    assert np.diff(centred(np.array([[0.3, 0.1], [near, 0.1]], np.float32))[:, 0]) > 0


def test_every_metric_equals_scikit_learn_on_every_resample() -> None:
    chosen, image = three_classes(["test"])
    columns = TASK.predict(embedded(THREE, chosen, [image], [prompt_vectors()])).columns
    score = np.stack([columns[f"score:{name}"] for name in "abc"], axis=1)
    relative = score.astype(np.float64) - score.mean(axis=1, keepdims=True, dtype=np.float64)
    weight = counts(60, 5, 0, kept=3)
    measured = TASK.measure(columns, weight)
    for b, drawn in enumerate(resamples(weight)):
        label, guess = columns["label"][drawn], score[drawn].argmax(axis=1)
        member = label[:, None] == np.arange(3)
        expected = {
            "accuracy": metrics.accuracy_score(label, guess),
            "balanced_accuracy": metrics.balanced_accuracy_score(label, guess),
            "macro_f1": metrics.f1_score(label, guess, average="macro"),
            "macro_auc": metrics.roc_auc_score(member, relative[drawn]),
        }
        for name, value in expected.items():
            assert measured[name][b] == pytest.approx(value, abs=1e-12), name


def test_each_prompt_alone_by_median_best_and_worst() -> None:
    chosen, image = three_classes(["test"])
    text = prompt_vectors()
    columns = TASK.predict(embedded(THREE, chosen, [image], [text])).columns
    pixels = normalised(np.stack([image[Named(one.id)] for one in chosen]))
    alone = []
    for p in range(2):
        score = pixels @ np.stack([text[f"{name}{p + 1}"] for name in "abc"]).T
        np.testing.assert_array_equal(columns[f"prompt:{p}"], score.argmax(axis=1) == columns["label"])
        alone.append(float(columns[f"prompt:{p}"].mean()))
    measured = TASK.measure(columns, once(60))
    assert measured["prompt_best_accuracy"][0] == pytest.approx(max(alone))
    assert measured["prompt_worst_accuracy"][0] == pytest.approx(min(alone))
    assert measured["prompt_median_accuracy"][0] == pytest.approx(np.mean(alone))


def test_calibration_needs_a_val_split_and_uses_nothing_else() -> None:
    without, image = three_classes(["test"])
    plain = TASK.predict(embedded(THREE, without, [image], [prompt_vectors()])).columns
    assert not {"ece", "brier", "nll"} & set(TASK.measure(plain, once(60)))

    chosen, image = three_classes(["val", "test"])
    columns = TASK.predict(embedded(THREE, chosen, [image], [prompt_vectors()])).columns
    val_image = {Named(one.id): image[Named(one.id)] for one in chosen if one.split == "val"}
    as_test = [Sample(one.id, one.images, "test", one.labels) for one in chosen if one.split == "val"]
    on_val = TASK.predict(embedded(THREE, as_test, [val_image], [prompt_vectors()])).columns
    fitted = fit_temperature(np.stack([on_val[f"score:{name}"] for name in "abc"], axis=1), on_val["label"])
    score = np.stack([columns[f"score:{name}"] for name in "abc"], axis=1)
    probability = softmax(score / fitted.value, axis=1)
    for c, name in enumerate("abc"):
        assert_rounding(columns[f"probability:{name}"], probability[:, c], size=1.0, dtype=np.float32)
    measured = TASK.measure(columns, once(60))
    label = columns["label"]
    member = label[:, None] == np.arange(3)
    assert measured["nll"][0] == pytest.approx(metrics.log_loss(label, probability, labels=[0, 1, 2]), abs=1e-5)
    assert measured["brier"][0] == pytest.approx(((probability - member) ** 2).sum(axis=1).mean(), abs=1e-5)
    assert 0 < measured["ece"][0] < 0.3


def test_a_temperature_without_optimum_is_noted() -> None:
    chosen = samples([0, 1, 2], "val") + samples([0, 1, 2])
    image = pictures(chosen, np.tile(np.eye(3), (2, 1)))
    text = dict(zip(PROMPTS, np.repeat(np.eye(3), 2, axis=0), strict=True))
    predicted = TASK.predict(embedded(THREE, chosen, [image], [text]))
    assert "no best temperature" in predicted.note
    assert TASK.measure(predicted.columns, once(3))["nll"][0] == pytest.approx(0)


def test_a_sure_mistake_costs_a_finite_log_loss() -> None:
    probability = {"probability:a": np.array([1.0, 1.0], np.float32), "probability:b": np.zeros(2, np.float32)}
    columns = {"label": np.array([0, 1]), "score:a": np.ones(2), "score:b": np.zeros(2), **probability}
    assert TASK.measure(columns, once(2))["nll"][0] == pytest.approx(-np.log(np.finfo(np.float32).tiny) / 2)


def test_several_classes_a_sample() -> None:
    rng = np.random.default_rng(3)
    chosen = samples([(), (0,), (0, 2), (1,), (2,), (1, 2), (0, 1, 2), (), (0,), (1,)])
    image = pictures(chosen, rng.normal(size=(10, 8)))
    columns = TASK.predict(embedded(MULTI, chosen, [image], [prompt_vectors()])).columns
    assert TASK.labels(columns) is None
    assert TASK.class_scores(columns) is None
    assert columns["label:a"].tolist() == [0 in one.labels for one in chosen]
    score = np.stack([columns[f"score:{name}"] for name in "abc"], axis=1)
    member = np.stack([columns[f"label:{name}"] for name in "abc"], axis=1)
    weight = counts(10, 4, 1, kept=8)
    measured = TASK.measure(columns, weight)
    assert not {"balanced_accuracy", "macro_f1", "ece"} & set(measured)
    for b, drawn in enumerate(resamples(weight)):
        assert measured["macro_auc"][b] == pytest.approx(metrics.roc_auc_score(member[drawn], score[drawn]))
        assert measured["macro_ap"][b] == pytest.approx(metrics.average_precision_score(member[drawn], score[drawn]))
        hits = [member[n, score[n].argmax()] for n in drawn if member[n].any()]
        assert measured["accuracy"][b] == pytest.approx(np.mean(hits))


def test_a_draw_of_samples_without_any_class_has_no_accuracy() -> None:
    truth = {f"label:{name}": np.zeros(2, np.bool_) for name in "ab"}
    measured = TASK.measure({**truth, "score:a": np.zeros(2), "score:b": np.zeros(2)}, once(2))
    assert np.isnan(measured["accuracy"]).all()


def test_several_classes_on_a_card_that_has_one_are_an_error() -> None:
    chosen = samples([(0, 1)])
    with pytest.raises(DataError, match="has 2 classes, expected one"):
        TASK.predict(embedded(THREE, chosen, [pictures(chosen, unit(1, 8, 0))], [prompt_vectors()]))


@pytest.mark.parametrize(
    ("classes", "complaint"),
    [
        ({"a": ["x"]}, r"needs at least two [[classes]], found 1"),
        ({"a": ["x"], "b": []}, "needs prompts of every class, found none of b"),
        ({"a": ["x"], "b": ["y"]}, ""),
    ],
)
def test_what_the_card_must_have(classes: dict[str, list[str]], complaint: str) -> None:
    assert TASK.complaint(card("zero_shot", classes)) == complaint
