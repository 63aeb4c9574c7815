"""Conformal sets of a zero-shot evaluation: from val alone, by groups, and said where there are none."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from report_world import CONTEXT
from scipy.special import softmax
from worlds import Named, card, embedded

from mmkd.cards.samples import Sample, Split
from mmkd.evaluation.format.predictions import PredictionFacts, write_predictions
from mmkd.evaluation.models.embeddings import EmbeddedDataSet
from mmkd.evaluation.summary.summary import results_from_predictions, write_summary
from mmkd.evaluation.tasks.conformal_sets import METRICS, groups_needed, set_columns
from mmkd.evaluation.tasks.task import NoSettings
from mmkd.evaluation.tasks.zero_shot import TASK
from mmkd.folders.atomic import write_json
from mmkd.report.details import conformal
from mmkd.report.source import read_evaluated
from mmkd.statistics.metrics import Array
from predicted_world import QUICK

CLASSES = {"a": ["a"], "b": ["b"], "c": ["c"]}


def world(val: int, group: Sequence[str] = (), seed: int = 0, shift: float = 1.0) -> EmbeddedDataSet[NoSettings]:
    """val samples and 300 of test around their class's direction, test with its own noise."""
    rng, centre = np.random.default_rng(seed), np.eye(3, 8)
    val_split: list[Split] = ["val"]
    test_split: list[Split] = ["test"]
    splits = val_split * val + test_split * 300
    groups = [*(group or [""] * val), *[""] * 300]
    chosen = [
        Sample(f"{number}", (Named(f"{number}"),), split, (number % 3,), group=groups[number])
        for number, split in enumerate(splits)
    ]
    noise = np.array([0.45 if split == "val" else 0.45 * shift for split in splits])
    vectors = centre[[one.label for one in chosen]] + noise[:, None] * rng.normal(size=(len(chosen), 8))
    images = {Named(one.id): vector for one, vector in zip(chosen, vectors, strict=True)}
    return embedded(card("zero_shot", CLASSES), chosen, [images], [dict(zip("abc", centre, strict=True))])


def measured(one: EmbeddedDataSet[NoSettings]) -> dict[str, float]:
    columns = TASK.predict(one).columns
    return {name: float(value[0]) for name, value in TASK.measure(columns, np.ones((1, 300), np.uint16)).items()}


def test_sets_cover_about_what_is_asked_and_less_where_test_is_harder() -> None:
    found = measured(world(600))
    assert found["lac_coverage"] == pytest.approx(0.9, abs=0.06)
    assert found["aps_coverage"] > 0.86
    assert 1 <= found["lac_set_size"] <= found["aps_set_size"] <= 3
    assert measured(world(600, shift=2.0))["lac_coverage"] < found["lac_coverage"] - 0.1


def test_val_without_groups_enough_gives_no_sets_and_a_note() -> None:
    few = [f"patient {number % 30}" for number in range(300)]
    predicted = TASK.predict(world(300, few))
    assert not any(name.startswith("conformal") for name in predicted.columns)
    assert f"no conformal sets: val has 30 groups, {groups_needed()} are needed" in predicted.note
    assert "probability:a" in predicted.columns
    assert not set(METRICS) & set(measured(world(0)))


def test_labels_of_test_decide_no_set() -> None:
    """Sizes stay when the labels of the test samples change."""
    rng = np.random.default_rng(0)
    val_VC, score_NC = rng.normal(size=(150, 3)), rng.normal(size=(40, 3))
    label_V, groups = rng.integers(0, 3, 150), [""] * 150
    sets = [set_columns(val_VC, label_V, groups, score_NC, np.full(40, label), "set", 0)[0] for label in range(3)]
    for method in ("lac", "aps"):
        sizes = [one[f"conformal_size:{method}"] for one in sets]
        np.testing.assert_array_equal(sizes[0], sizes[1])
        # each class is in a set or not: the three tries count the set's classes
        np.testing.assert_array_equal(sum(one[f"conformal_has:{method}"].astype(int) for one in sets), sizes[0])


def test_report_shows_coverage_and_size_or_that_there_is_none(tmp_path: Path) -> None:
    for name, val in (("with_val", 300), ("without", 0)):
        for model in ("student", "BiomedCLIP"):
            facts = PredictionFacts(model, name, "ct", "zero_shot")
            write_predictions(tmp_path, facts, TASK.predict(world(val, seed=len(model))))
    write_summary(tmp_path, results_from_predictions(tmp_path, ["BiomedCLIP"], QUICK))
    manifest = {"kind": "evaluation", "settings": {}, "inputs": {}, "digest": "", "counts": {}, "versions": {}}
    write_json(tmp_path / "manifest.json", manifest)
    detail = conformal(read_evaluated(tmp_path, CONTEXT), "zero_shot")
    assert detail.table is not None
    assert [row.name for row in detail.table.rows] == ["with_val", "BiomedCLIP", "best_teacher", "student"]
    assert detail.table.rows[-1].styled_cells[0].text.endswith("]")  # with its interval
    assert detail.notes[0].startswith("Not available on without: no val split")


def test_softmax_of_the_temperature_keeps_the_order() -> None:
    """Sets hold the likeliest class, so they are never empty and cover at least the accuracy."""
    columns: dict[str, Array] = TASK.predict(world(300)).columns
    score_NC = np.stack([columns[f"score:{name}"] for name in "abc"], axis=1)
    right_N = softmax(score_NC, axis=1).argmax(axis=1) == columns["label"]
    for method in ("lac", "aps"):
        assert columns[f"conformal_size:{method}"].min() >= 1
        assert (columns[f"conformal_has:{method}"] >= right_N).all()
