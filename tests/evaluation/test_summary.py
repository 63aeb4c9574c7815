"""Numbers from predictions alone: means, pairs, what is left out."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from mmkd.errors import DataError
from mmkd.evaluation.format.numbers import metric_label, scale_of
from mmkd.evaluation.format.predictions import PredictionFacts, predictions_path
from mmkd.evaluation.format.results import (
    CLEAN,
    IN_GENERAL,
    Result,
    by_modality,
    in_order,
    read_comparisons,
    read_rankings,
    read_results,
)
from mmkd.evaluation.summary.means import families, means
from mmkd.evaluation.summary.scores import Estimate, Scores, deciding_metric
from mmkd.evaluation.summary.summary import results_from_predictions, write_summary
from mmkd.evaluation.tasks.table import TASKS
from mmkd.folders.json_lines import write_json_lines
from predicted_world import QUICK, predicted, shares, written


def test_values_and_means_by_hand(tmp_path: Path) -> None:
    for dataset, right, modality in (("one", 8, "ct"), ("two", 4, "ct"), ("three", 6, "mri")):
        predicted(tmp_path, "student", dataset, [True] * right + [False] * (8 - right), modality)
    rows = results_from_predictions(tmp_path, [], QUICK).results
    accuracy = by_modality(rows, "zero_shot", "accuracy")["student"]
    assert {name: row.value for name, row in accuracy.items()} == {"ct": 0.75, "mri": 0.75, "mean": 0.75}
    assert (accuracy["ct"].dataset, accuracy["ct"].n, accuracy["ct"].note) == ("mean", 16, "mean over 2 data sets")
    assert (accuracy["mri"].dataset, accuracy["mean"].n) == ("three", 24)


def test_the_mean_of_independent_data_sets_is_surer_than_each(tmp_path: Path) -> None:
    for number in range(6):
        predicted(tmp_path, "student", f"set{number}", [True, True, True, False] * 10)
    rows = [row for row in results_from_predictions(tmp_path, [], QUICK).results if row.metric == "accuracy"]
    widths = {row.dataset: (row.high or 0) - (row.low or 0) for row in rows}
    assert widths["mean"] == pytest.approx(np.mean([widths[f"set{n}"] for n in range(6)]) / np.sqrt(6), rel=0.25)


def test_models_that_agree_on_every_sample_differ_by_nothing(tmp_path: Path) -> None:
    correct = [True, False, True, True] * 5
    for model in ("teacher", "student"):
        predicted(tmp_path, model, "set", correct)
    found = results_from_predictions(tmp_path, ["teacher"], QUICK)
    rows, comparisons = found.results, found.comparisons
    assert {(row.difference, row.low, row.high, row.p) for row in comparisons} == {(0.0, 0.0, 0.0, 1.0)}
    assert {row.rival for row in comparisons} == {"teacher", "best_teacher"}
    intervals = {(row.metric, row.low, row.high) for row in rows if row.dataset == "set"}
    assert len(intervals) == len({row.metric for row in rows})  # the same draws for both models


def test_pairing_makes_a_small_steady_gain_visible(tmp_path: Path) -> None:
    hard = np.random.default_rng(0).random(200) < 0.5
    better = hard.copy()
    better[np.flatnonzero(~hard)[:12]] = True
    predicted(tmp_path, "teacher", "set", hard.tolist())
    predicted(tmp_path, "student", "set", better.tolist())
    found = results_from_predictions(tmp_path, ["teacher"], QUICK)
    rows, comparisons = found.results, found.comparisons
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
    rows = [row for row in results_from_predictions(tmp_path, [], QUICK).results if row.metric == "accuracy"]
    widths = {row.dataset: (row.high or 0) - (row.low or 0) for row in rows}
    assert widths["grouped"] > 2 * widths["independent"]
    protocols = {row.dataset: row.protocol for row in rows}
    assert protocols["grouped"].endswith("300 bootstrap replicates of groups")
    assert protocols["independent"].endswith("300 bootstrap replicates of samples within each class")


def test_replicates_without_a_class_are_counted_in_the_note(tmp_path: Path) -> None:
    predicted(tmp_path, "alone", "set", [True] * 4, group=["p1", "p2", "p1", "p2"])
    rows = {row.metric: row for row in results_from_predictions(tmp_path, [], QUICK).results if row.dataset == "set"}
    assert rows["accuracy"].note == "exact interval over 2 units, as all replicates are 1"
    assert "of 300 replicates, in which it is not defined, are left out" in rows["macro_auc"].note
    assert 100 < int(rows["macro_auc"].note.split()[0]) < 200


@pytest.mark.parametrize(
    ("label", "complaint"),
    [
        ([0, 0], r"macro_auc, macro_f1 not defined: a class has no sample, or all .* one class \(found 2 of class 0\)"),
        ([0, 2], r"labels \[2\] among the samples, expected 0..1; mend the data or evaluate again"),
    ],
)
def test_labels_that_give_no_number_are_refused(tmp_path: Path, label: Sequence[int], complaint: str) -> None:
    columns = {"label": np.array(label, np.int32), "score:a": np.array([0.1, 0.2]), "score:b": np.zeros(2)}
    written(tmp_path, PredictionFacts("alone", "set", "ct", "zero_shot"), columns)
    with pytest.raises(DataError, match=f"set, zero_shot, alone: {complaint}"):
        results_from_predictions(tmp_path, [], QUICK)


def test_a_score_that_is_no_number_is_refused_with_its_place(tmp_path: Path) -> None:
    predicted(tmp_path, "alone", "set", [True] * 4)
    path = predictions_path(tmp_path, PredictionFacts("alone", "set", "ct", "zero_shot"))
    table = parquet.read_table(path)
    column = table.column_names.index("score:a")
    parquet.write_table(table.set_column(column, "score:a", [[1.0, float("nan"), 1.0, 0.0]]), path)
    with pytest.raises(DataError, match="set, zero_shot, alone: score: 1 of 8 are not finite, expected numbers"):
        results_from_predictions(tmp_path, [], QUICK)


def test_the_best_teacher_may_differ_from_set_to_set(tmp_path: Path) -> None:
    for dataset, right in (("one", {"a": 8, "b": 2}), ("two", {"a": 4, "b": 6})):
        for model, number in right.items():
            predicted(tmp_path, model, dataset, [i < number for i in range(8)])
    rows = by_modality(results_from_predictions(tmp_path, ["a", "b"], QUICK).results, "zero_shot", "accuracy")
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
    write_json_lines(tmp_path / "results.jsonl", [row, row])
    assert read_results(tmp_path) == [row, row]
    with (tmp_path / "results.jsonl").open("a") as stream:
        stream.write('{"model": "m"}\n')
    with pytest.raises(DataError, match=r"results\.jsonl, line 3: not a result"):
        read_results(tmp_path)
    with pytest.raises(DataError, match="run 'mmkd evaluate' first"):
        read_results(tmp_path / "nowhere")


def test_models_stand_in_one_order_and_metrics_have_short_names() -> None:
    found = ["student", "chance", "zoo2", "mmkd", "best_teacher", "colour_and_size", "other", "zoo1"]
    order = ["zoo1", "zoo2", "best_teacher", "mmkd", "other", "student", "chance", "colour_and_size"]
    assert in_order(found, ["zoo1", "zoo2"]) == order
    assert metric_label("image_to_text_recall@10") == "I→T R@10"
    assert metric_label("macro_auc") == "macro AUC"


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("accuracy", 0.5, "50.0"),
        ("image_to_text_median_rank", 12.5, "12.5"),
        ("image_to_text_median_rank_share", 0.125, "12.5"),
        ("harrell_c", 0.6543, "0.654"),
        ("integrated_brier", 0.2, "0.200"),
        ("nll", 1.5, "1.500"),
    ],
)
def test_numbers_are_printed_in_their_unit(metric: str, value: float, text: str) -> None:
    assert scale_of(metric).value(value) == text
    assert scale_of(metric).signed(value) == f"+{text}"


def test_a_mean_is_over_models_and_metrics_that_all_data_sets_have(tmp_path: Path) -> None:
    """The second set has calibrated probabilities, the first none; `guest` saw the second set alone."""
    for model in ("student", "teacher"):
        predicted(tmp_path, model, "one", shares(0.5))
    label = np.arange(40) % 2
    columns = {"label": label.astype(np.int32), "score:a": 1.0 - label, "score:b": label * 1.0}
    columns |= {"probability:a": 0.9 - 0.8 * label, "probability:b": 0.1 + 0.8 * label}
    for model in ("student", "teacher", "guest"):
        written(tmp_path, PredictionFacts(model, "two", "ct", "zero_shot"), columns)
    rows = results_from_predictions(tmp_path, ["teacher"], QUICK).results
    means = {(row.model, row.metric): row for row in rows if row.modality == "mean"}
    assert {model for model, _ in means} == {"student", "teacher", "best_teacher"}
    assert {metric for _, metric in means} == {"accuracy", "balanced_accuracy", "macro_auc", "macro_f1"}
    assert means["student", "accuracy"].value == 0.75
    assert any(row.metric == "ece" and row.dataset == "two" and row.model == "guest" for row in rows)


def test_the_primary_metric_is_averaged_over_the_sets_that_have_it() -> None:
    whole = [estimated("one", accuracy=0.4, macro_auc=0.6), estimated("two", macro_auc=0.8)]
    *_, scores = means(whole, TASKS["zero_shot"])
    mean = scores.estimates["student"]
    assert {metric: estimate.value for metric, estimate in mean.items()} == {
        "accuracy": 0.4,
        "macro_auc": pytest.approx(0.7),
    }
    assert (mean["accuracy"].n, mean["macro_auc"].n) == (10, 20)
    assert mean["accuracy"].note == "mean over 1 of 2 data sets, the others have no accuracy"
    assert deciding_metric(whole[1], TASKS["zero_shot"]) == "macro_auc"


def estimated(dataset: str, **values: float) -> Scores:
    metrics = {name: Estimate(value, np.full(5, value), 10) for name, value in values.items()}
    return Scores(PredictionFacts("student", dataset, "ct", "zero_shot"), "samples", 10, {"student": metrics})


def test_the_interval_in_general_is_wider_and_needs_three_sets(tmp_path: Path) -> None:
    for number, share in enumerate((0.2, 0.5, 0.9)):
        predicted(tmp_path, "student", f"set{number}", shares(share))
        rows = [row for row in results_from_predictions(tmp_path, [], QUICK).results if row.modality == "mean"]
        general = [row for row in rows if row.subset == IN_GENERAL]
        assert len(general) == (number == 2)
    usual = next(row for row in rows if row.metric == "accuracy" and row.subset == "all")
    assert general[0].metric == "accuracy"
    assert general[0].value == usual.value
    assert (general[0].high or 0) - (general[0].low or 1) > 2 * ((usual.high or 0) - (usual.low or 1))
    assert general[0].protocol.endswith("300 bootstrap replicates of data sets, and of their samples")


def test_relatives_are_drawn_together(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        predicted(tmp_path, "student", name, shares(0.5))
    cards = [{"id": "a", "overlaps": []}, {"id": "b", "overlaps": ["a", "elsewhere"]}, {"id": "c"}]
    (tmp_path / "cards.jsonl").write_text("\n".join(map(json.dumps, cards)))
    rows = results_from_predictions(tmp_path, [], QUICK).results
    assert "replicates of families of data sets" in next(row for row in rows if row.subset == IN_GENERAL).protocol


def test_overlaps_in_either_direction_make_one_family() -> None:
    assert families({"a": [], "b": ["a"], "c": ["b"], "d": ["other"], "e": []}) == {
        "a": "a", "b": "a", "c": "a", "d": "", "e": ""
    }  # fmt: skip


def test_results_that_a_null_reaches_are_marked(tmp_path: Path) -> None:
    for model, share in (("teacher", 0.55), ("student", 0.95), ("chance", 0.3), ("colour_and_size", 0.5)):
        predicted(tmp_path, model, "set", shares(share))
    rows = results_from_predictions(tmp_path, ["teacher"], QUICK).results
    notes = {row.model: row.note for row in rows if row.metric == "accuracy" and row.dataset == "set"}
    assert notes["teacher"] == "does not clear its null: colour_and_size 0.50"
    assert notes["best_teacher"].endswith("does not clear its null: colour_and_size 0.50")
    assert notes["student"] == notes["chance"] == notes["colour_and_size"] == ""
    assert not any("null" in row.note for row in rows if row.metric == "macro_auc")


def test_models_without_knowledge_are_no_teachers(tmp_path: Path) -> None:
    for model, share in (("teacher", 0.5), ("chance", 0.9)):
        predicted(tmp_path, model, "set", shares(share))
    rows = by_modality(results_from_predictions(tmp_path, ["teacher"], QUICK).results, "zero_shot", "accuracy")
    assert rows["best_teacher"]["ct"].value == 0.5


def test_a_family_too_large_for_the_replicates_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        for model in ("teacher", "student"):
            predicted(tmp_path, model, f"set{number}", shares(0.5))
    results_from_predictions(tmp_path, ["teacher"], QUICK)
    said = capsys.readouterr()
    assert (
        "with 300 replicates and 10 comparisons no p after Holm can fall below 0.07; set evaluate.bootstrap to 400"
        in said.out + said.err
    )


def test_all_three_files_are_written_and_read(tmp_path: Path) -> None:
    for number in range(3):
        for model, share in (("teacher", 0.5), ("student", 0.75)):
            predicted(tmp_path, model, f"set{number}", shares(share))
    summary = results_from_predictions(
        tmp_path, ["teacher"], QUICK, leaked=lambda name: {"0"} if name == "set1" else ()
    )
    write_summary(tmp_path, summary)
    assert read_results(tmp_path) == summary.results
    assert read_comparisons(tmp_path) == summary.comparisons
    assert read_rankings(tmp_path) == summary.rankings
    assert len(summary.rankings) == 1
    assert CLEAN in {row.subset for row in summary.results}
