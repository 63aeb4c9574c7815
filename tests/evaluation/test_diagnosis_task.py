"""Diagnosis on slides: the task on made bags, with the card's own features, and on the real pseudo-slides."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from worlds import Named, card, embedded

from mmkd.cards.card import Card
from mmkd.cards.readers.read import read_samples
from mmkd.cards.samples import ImageRef, Sample
from mmkd.errors import DataError
from mmkd.evaluation.models.embeddings import EmbeddedDataSet
from mmkd.evaluation.slides.bags import Bag, write_bag
from mmkd.evaluation.tasks.diagnosis import TASK, slide_scores
from mmkd.statistics.metrics import Array
from tolerance import assert_rounding

SLIDES: dict[str, Any] = {"layout": {"reader": "slides", "path": "/set.jsonl"}}
CLASSES: dict[str, list[str]] = {"benign": [], "cancer": []}
QUICK: dict[str, Any] = {"folds": 3, "epochs": 15, "lr": 1e-2, "hidden": 8, "penalties": [1.0]}


def made(slides: int = 24, tiles: int = 6, dim: int = 8, seed: int = 0) -> tuple[list[Sample], dict[ImageRef, Array]]:
    """Two slides a patient; in a cancer slide half of the tiles point in one direction."""
    rng = np.random.default_rng(seed)
    samples: list[Sample] = []
    vectors: dict[ImageRef, Array] = {}
    for n in range(slides):
        label = n // 2 % 2
        images = tuple(Named(f"{n}-{t}") for t in range(tiles))
        for t, image in enumerate(images):
            vectors[image] = rng.normal(size=dim)
            vectors[image][0] += 5 * label * (t < tiles // 2)
        samples.append(Sample(f"s{n}", images, labels=(label,), group=f"p{n // 2}"))
    return samples, vectors


def of_model(samples: list[Sample], vectors: Mapping[ImageRef, Array], **changed: Any) -> EmbeddedDataSet[Any]:
    return embedded(card("diagnosis", CLASSES, **SLIDES), samples, [vectors], **{**QUICK, **changed})


def test_a_clear_signal_is_found_in_slides_of_unseen_patients() -> None:
    samples, vectors = made(slides=96)
    predicted = TASK.predict(of_model(samples, vectors, epochs=30))
    assert predicted.id == [sample.id for sample in samples]
    assert predicted.group == [sample.group for sample in samples]
    measured = TASK.measure(predicted.columns, np.ones((1, len(samples)), np.uint16))
    assert measured["macro_auc"][0] > 0.95
    assert measured["mean_pooling_macro_auc"][0] > 0.9
    for pooling in ("mean", "attention"):
        both = predicted.columns[f"{pooling}:benign"] + predicted.columns[f"{pooling}:cancer"]
        assert_rounding(both, np.ones_like(both), dtype=np.float32)


def test_labels_without_a_signal_are_not_predicted() -> None:
    """The slides of a patient have the same vectors: a cut patient would lift this to nearly one."""
    samples, vectors = made(slides=80)
    rng = np.random.default_rng(5)
    for n in range(0, 80, 2):
        for one, other in zip(samples[n].images, samples[n + 1].images, strict=True):
            vectors[one] = vectors[other] = rng.normal(size=8)
    columns = TASK.predict(of_model(samples, vectors)).columns
    measured = TASK.measure(columns, np.ones((1, 80), np.uint16))
    assert measured["macro_auc"][0] < 0.8
    assert measured["mean_pooling_macro_auc"][0] < 0.8


def test_metrics_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], [9, 5, 7]).astype(np.int32)
    probability = {name: rng.dirichlet(np.ones(3), 21) for name in ("mean", "attention")}
    columns = {f"{name}:{c}": value[:, c] for name, value in probability.items() for c in range(3)}
    measured = TASK.measure({"label": label, **columns}, np.ones((1, 21), np.uint16))
    for prefix, value in (("", probability["attention"]), ("mean_pooling_", probability["mean"])):
        auc = roc_auc_score(label, value, multi_class="ovr", average="macro")
        assert measured[f"{prefix}macro_auc"][0] == pytest.approx(auc, abs=1e-12)
        assert measured[f"{prefix}accuracy"][0] == pytest.approx((value.argmax(axis=1) == label).mean())
        balanced = balanced_accuracy_score(label, value.argmax(axis=1))
        assert measured[f"{prefix}balanced_accuracy"][0] == pytest.approx(balanced)
    scores = TASK.class_scores({"label": label, **columns})
    assert scores is not None
    np.testing.assert_array_equal(scores.score_NC, probability["attention"])
    np.testing.assert_array_equal(scores.label_N, label)


def test_predictions_repeat_themselves_and_the_test_slides_do_not_train() -> None:
    samples, vectors = made()
    split = [replace(s, split="test" if n < 8 else "train") for n, s in enumerate(samples)]
    one, again = (TASK.predict(of_model(split, vectors)) for _ in range(2))
    assert one.id == [f"s{n}" for n in range(8)]
    for name, value in one.columns.items():
        np.testing.assert_array_equal(value, again.columns[name])
    # the other test slides may be anything
    changed = {**vectors, **{image: np.full(8, 9.0) for sample in split[1:8] for image in sample.images}}
    for name, value in TASK.predict(of_model(split, changed)).columns.items():
        assert value[0] == pytest.approx(one.columns[name][0], abs=1e-6)


def test_tiles_in_any_order_and_tiles_twice() -> None:
    samples, vectors = made()
    plain = TASK.predict(of_model(samples, vectors)).columns
    turned = [replace(sample, images=sample.images[::-1]) for sample in samples]
    twice = [replace(sample, images=sample.images * 2) for sample in samples]
    for changed in (turned, twice):
        columns = TASK.predict(of_model(changed, vectors)).columns
        for name in ("mean:cancer", "attention:cancer"):
            np.testing.assert_allclose(columns[name], plain[name], atol=5e-3)


def test_attention_of_every_slide_adds_up() -> None:
    samples, vectors = made()
    scores = slide_scores(of_model(samples, vectors))
    assert [len(weight) for weight in scores.weights] == [6] * 24
    assert_rounding([weight.sum() for weight in scores.weights], 1.0, dtype=np.float32)


def test_ready_features_make_a_predictor_of_their_own(tmp_path: Path) -> None:
    samples, vectors = made()
    ready = []
    for sample in samples:
        write_bag(tmp_path / f"{sample.id}.h5", Bag(np.stack([vectors[image] for image in sample.images])))
        ready.append(replace(sample, images=(), bags={"uni": tmp_path / f"{sample.id}.h5"}))
    of_card = card("diagnosis", CLASSES, **SLIDES)
    assert TASK.own_models(of_card, ready) == ["bag:uni"]
    assert TASK.own_models(of_card, samples) == []
    asked = replace(of_model(samples, vectors), model="bag:uni", samples=ready, images=[], members=[])
    columns = TASK.predict(asked).columns
    assert roc_auc_score(columns["label"], columns["attention:cancer"]) > 0.95
    with pytest.raises(DataError, match=r"slide 's3' has no features of 'uni'"):
        TASK.predict(replace(asked, samples=[*ready[:3], samples[3], *ready[4:]]))
    write_bag(tmp_path / "s4.h5", Bag(np.ones((3, 5))))
    with pytest.raises(DataError, match=r"'s4' has 5 features a tile, 's0' has 8; .* different encoders"):
        TASK.predict(asked)


def test_a_slide_without_tiles_is_named() -> None:
    samples, vectors = made()
    with pytest.raises(DataError, match="slide 's2' has no tiles"):
        TASK.predict(of_model([*samples[:2], replace(samples[2], images=()), *samples[3:]], vectors))


@pytest.mark.parametrize(
    ("of_card", "complaint"),
    [
        (card("diagnosis", CLASSES, **SLIDES), ""),
        (card("diagnosis", CLASSES), "needs tiles of slides, which the reader 'table' does not give"),
        (card("diagnosis", {"one": []}, **SLIDES), r"needs at least two [[classes]], found 1"),
        (
            card("diagnosis", CLASSES, multi_label=True, **SLIDES),
            "needs one class a slide, but the card is multi_label",
        ),
    ],
)
def test_complaints(of_card: Card, complaint: str) -> None:
    assert TASK.complaint(of_card) == complaint


def test_the_real_pseudo_slides(realdata: Path) -> None:
    layout = {
        "reader": "slides",
        "path": realdata / "wsi" / "lc25000_pseudoslides.jsonl",
        "columns": {"id": "bag_id"},
        "split_values": {"test": ["train", "val", "test"]},
    }
    of_card = card("diagnosis", {"lung_aca": [], "lung_scc": [], "lung_n": []}, layout=layout)
    samples = read_samples(of_card)
    rng = np.random.default_rng(0)
    vectors = {image: rng.normal(size=64) for sample in samples for image in sample.images}
    predicted = TASK.predict(embedded(of_card, samples, [vectors], epochs=3))
    assert len(predicted.id) == 24
    assert np.bincount(predicted.columns["label"]).tolist() == [8, 8, 8]
    measured = TASK.measure(predicted.columns, np.ones((1, 24), np.uint16))
    assert all(0 <= value[0] <= 1 for value in measured.values())
