"""Numbers from predictions alone: means, pairs, what is left out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mmkd.errors import DataError
from mmkd.evaluation.predictions import PredictionFacts, Predictions, predictions_path, write_predictions
from mmkd.evaluation.results import Result, by_modality, in_order, metric_label, read_results, write_rows
from mmkd.evaluation.summary import Resampling, results_from_predictions

QUICK = Resampling(replicates=300, confidence=0.95, seed=0)


def predicted(
    folder: Path, model: str, dataset: str, correct: Sequence[bool], modality: str = "ct", group: Sequence[str] = ()
) -> None:
    """Two classes in turn; a correct sample scores 1 for its class, a wrong one 1 for the other."""
    label = np.arange(len(correct)) % 2
    chosen = np.where(correct, label, 1 - label)
    columns = {"label": label.astype(np.int32), "score:a": (chosen == 0) * 1.0, "score:b": (chosen == 1) * 1.0}
    ids = [str(i) for i in range(len(correct))]
    facts = PredictionFacts(model, dataset, modality, "zero_shot")
    write_predictions(folder, Predictions(facts, ids, list(group) or [""] * len(correct), columns))


def test_values_and_means_by_hand(tmp_path: Path) -> None:
    for dataset, right, modality in (("one", 8, "ct"), ("two", 4, "ct"), ("three", 6, "mri")):
        predicted(tmp_path, "student", dataset, [True] * right + [False] * (8 - right), modality)
    rows, _ = results_from_predictions(tmp_path, [], QUICK)
    accuracy = by_modality(rows, "zero_shot", "accuracy")["student"]
    assert {name: row.value for name, row in accuracy.items()} == {"ct": 0.75, "mri": 0.75, "mean": 0.75}
    assert (accuracy["ct"].dataset, accuracy["ct"].n, accuracy["ct"].note) == ("mean", 16, "mean over 2 data sets")
    assert (accuracy["mri"].dataset, accuracy["mean"].n) == ("three", 24)


def test_the_mean_of_independent_data_sets_is_surer_than_each(tmp_path: Path) -> None:
    for number in range(6):
        predicted(tmp_path, "student", f"set{number}", [True, True, True, False] * 10)
    rows = [row for row in results_from_predictions(tmp_path, [], QUICK)[0] if row.metric == "accuracy"]
    widths = {row.dataset: (row.high or 0) - (row.low or 0) for row in rows}
    assert widths["mean"] == pytest.approx(np.mean([widths[f"set{n}"] for n in range(6)]) / np.sqrt(6), rel=0.25)


def test_models_that_agree_on_every_sample_differ_by_nothing(tmp_path: Path) -> None:
    correct = [True, False, True, True] * 5
    for model in ("teacher", "student"):
        predicted(tmp_path, model, "set", correct)
    rows, comparisons = results_from_predictions(tmp_path, ["teacher"], QUICK)
    assert {(row.difference, row.low, row.high, row.p) for row in comparisons} == {(0.0, 0.0, 0.0, 1.0)}
    assert {row.rival for row in comparisons} == {"teacher", "best_teacher"}
    intervals = {(row.metric, row.low, row.high) for row in rows if row.dataset == "set"}
    assert len(intervals) == 3  # the same draws for both models


def test_pairing_makes_a_small_steady_gain_visible(tmp_path: Path) -> None:
    hard = np.random.default_rng(0).random(200) < 0.5
    better = hard.copy()
    better[np.flatnonzero(~hard)[:12]] = True
    predicted(tmp_path, "teacher", "set", hard.tolist())
    predicted(tmp_path, "student", "set", better.tolist())
    rows, comparisons = results_from_predictions(tmp_path, ["teacher"], QUICK)
    gain = next(row for row in comparisons if row.metric == "accuracy" and row.dataset == "set")
    assert gain.difference == pytest.approx(0.06)
    assert gain.low is not None
    assert gain.low > 0
    spread = {row.model: (row.low, row.high) for row in rows if row.metric == "accuracy" and row.dataset == "set"}
    assert (spread["teacher"][1] or 0) > (spread["student"][0] or 1)


def test_groups_widen_the_interval(tmp_path: Path) -> None:
    correct = [True] * 20 + [False] * 20
    predicted(tmp_path, "alone", "independent", correct)
    predicted(tmp_path, "alone", "grouped", correct, group=[f"p{i // 10}" for i in range(40)])
    rows = [row for row in results_from_predictions(tmp_path, [], QUICK)[0] if row.metric == "accuracy"]
    widths = {row.dataset: (row.high or 0) - (row.low or 0) for row in rows}
    assert widths["grouped"] > 2 * widths["independent"]
    protocols = {row.dataset: row.protocol for row in rows}
    assert protocols["grouped"].endswith("300 bootstrap replicates of groups")
    assert protocols["independent"].endswith("300 bootstrap replicates of samples within each class")


def test_replicates_without_a_class_are_counted_in_the_note(tmp_path: Path) -> None:
    predicted(tmp_path, "alone", "set", [True] * 4, group=["p1", "p2", "p1", "p2"])
    rows = {row.metric: row for row in results_from_predictions(tmp_path, [], QUICK)[0] if row.dataset == "set"}
    assert rows["accuracy"].note == ""
    assert rows["macro_auc"].note.endswith("of 300 replicates drew no sample of a class and are left out")
    assert 100 < int(rows["macro_auc"].note.split()[0]) < 200


@pytest.mark.parametrize(
    ("label", "score", "complaint"),
    [
        ([0, 0], [0.1, 0.2], "set, zero_shot, alone: macro_auc not defined: a class has no sample"),
        (
            [0, 1],
            [0.1, np.nan],
            "set, zero_shot, alone: score: 1 of 2 are not finite, expected numbers; evaluate again",
        ),
        ([0, 2], [0.1, 0.2], r"set, zero_shot, alone: labels \[2\] among the samples, expected 0..1; evaluate again"),
    ],
)
def test_predictions_without_a_number_are_refused(
    tmp_path: Path, label: Sequence[int], score: Sequence[float], complaint: str
) -> None:
    columns = {"label": np.array(label, np.int32), "score:a": np.array(score), "score:b": np.zeros(2)}
    facts = PredictionFacts("alone", "set", "ct", "zero_shot")
    write_predictions(tmp_path, Predictions(facts, ["0", "1"], ["", ""], columns))
    with pytest.raises(DataError, match=complaint):
        results_from_predictions(tmp_path, [], QUICK)


def test_the_best_teacher_may_differ_from_set_to_set(tmp_path: Path) -> None:
    for dataset, right in (("one", {"a": 8, "b": 2}), ("two", {"a": 4, "b": 6})):
        for model, number in right.items():
            predicted(tmp_path, model, dataset, [i < number for i in range(8)])
    rows = by_modality(results_from_predictions(tmp_path, ["a", "b"], QUICK)[0], "zero_shot", "accuracy")
    assert rows["best_teacher"]["mean"].value == (1.0 + 0.75) / 2
    assert rows["a"]["mean"].value == (1.0 + 0.5) / 2


def test_unaligned_predictions_are_refused(tmp_path: Path) -> None:
    predicted(tmp_path, "a", "set", [True] * 4)
    predicted(tmp_path, "b", "set", [True] * 6)
    with pytest.raises(DataError, match="b and a saw different samples"):
        results_from_predictions(tmp_path, [], QUICK)


def test_damaged_predictions_are_named(tmp_path: Path) -> None:
    path = predictions_path(tmp_path, PredictionFacts("a", "set", "ct", "zero_shot"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"set/a\.parquet: not readable as predictions"):
        results_from_predictions(tmp_path, [], QUICK)


def test_rows_survive_the_file_and_a_wrong_line_is_named(tmp_path: Path) -> None:
    row = Result("m", "d", "ct", "zero_shot", "accuracy", 0.5, None, None, 3, 0, "p")
    write_rows(tmp_path / "results.jsonl", [row, row])
    assert read_results(tmp_path) == [row, row]
    with (tmp_path / "results.jsonl").open("a") as stream:
        stream.write('{"model": "m"}\n')
    with pytest.raises(DataError, match=r"results\.jsonl, line 3: not a result"):
        read_results(tmp_path)
    with pytest.raises(DataError, match="run 'mmkd evaluate' first"):
        read_results(tmp_path / "nowhere")


def test_models_stand_in_one_order_and_metrics_have_short_names() -> None:
    found = ["student", "zoo2", "mmkd", "best_teacher", "other", "zoo1"]
    assert in_order(found, ["zoo1", "zoo2"]) == ["zoo1", "zoo2", "best_teacher", "mmkd", "other", "student"]
    assert metric_label("image_to_text_recall@10") == "I→T R@10"
    assert metric_label("macro_auc") == "macro AUC"
