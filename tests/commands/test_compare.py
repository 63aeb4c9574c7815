"""`mmkd compare`: who is meant, what is shared, the numbers by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from mmkd.commands.compare import compare
from mmkd.errors import ConfigError, DataError
from mmkd.evaluation.format.predictions import Predicted, PredictionFacts, read_predictions, write_predictions
from mmkd.evaluation.summary.compare_runs import compare as body
from mmkd.evaluation.summary.compare_runs import opened
from mmkd.evaluation.summary.summary import results_from_predictions
from predicted_world import QUICK, predicted, shares, written

APP = typer.Typer()
APP.command()(compare)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    """Two runs whose students were asked three shared data sets; the second was asked one more."""
    for number, (first, second) in enumerate(((0.9, 0.5), (0.8, 0.6), (0.7, 0.7))):
        predicted(tmp_path / "a/evaluate", "student", f"set{number}", shares(first))
        predicted(tmp_path / "b/evaluate", "student", f"set{number}", shares(second))
        predicted(tmp_path / "b/evaluate", "chance", f"set{number}", shares(0.5))
    predicted(tmp_path / "b/evaluate", "student", "another", shares(0.5))
    return str(tmp_path / "a"), str(tmp_path / "b")


def test_differences_by_hand(runs: tuple[str, str]) -> None:
    found = body(*runs, QUICK)
    assert (found.first, found.second) == runs
    assert (found.only_first, found.only_second) == ([], ["zero_shot/another"])
    lines = {(line.comparison.dataset, line.comparison.subset): line for line in found.lines if line.deciding}
    assert (lines["set0", "all"].first, lines["set0", "all"].second) == (0.9, 0.5)
    assert lines["mean", "all"].comparison.difference == pytest.approx(0.2)
    assert lines["mean", "in general"].comparison.p_holm is None
    assert lines["set0", "all"].comparison.exact == "McNemar"
    assert lines["set2", "all"].comparison.p == 1.0
    assert {line.comparison.model for line in found.lines} == {runs[0]}


def test_it_says_what_the_evaluation_itself_says(tmp_path: Path) -> None:
    """Two models of one run have the same draws here and there."""
    for model, share in (("student", 0.8), ("teacher", 0.6)):
        predicted(tmp_path, model, "set", shares(share))
    expected = [row for row in results_from_predictions(tmp_path, [], QUICK).comparisons if row.dataset == "set"]
    assert [line.comparison for line in body(str(tmp_path), f"{tmp_path}:teacher", QUICK).lines] == expected


def test_swapping_the_sides_swaps_the_signs(runs: tuple[str, str]) -> None:
    there, back = body(runs[0], runs[1], QUICK), body(runs[1], runs[0], QUICK)
    for one, other in zip(there.lines, back.lines, strict=True):
        assert one.comparison.difference == -other.comparison.difference
        assert one.comparison.p == other.comparison.p
        assert one.comparison.low == pytest.approx(-(other.comparison.high or 0))


def test_samples_are_paired_by_their_ids(tmp_path: Path) -> None:
    predicted(tmp_path / "a", "student", "set", shares(0.75))
    path = tmp_path / "a/predictions/zero_shot/set/student.parquet"
    found, order = read_predictions(path), np.random.default_rng(0).permutation(40)
    mixed = Predicted(
        [found.id[row] for row in order],
        [found.group[row] for row in order],
        {name: value[order] for name, value in found.columns.items()},
    )
    write_predictions(tmp_path / "b", found.facts, mixed)
    rows = [line.comparison for line in body(str(tmp_path / "a"), str(tmp_path / "b"), QUICK).lines]
    assert {(row.difference, row.low, row.high, row.p) for row in rows} == {(0.0, 0.0, 0.0, 1.0)}


def test_other_samples_or_other_truths_are_refused(tmp_path: Path) -> None:
    predicted(tmp_path / "a", "student", "set", shares(0.75))
    predicted(tmp_path / "b", "student", "set", shares(0.75, samples=44))
    with pytest.raises(DataError, match="0 samples only in the first, 4 only in the second, for instance '40'"):
        body(str(tmp_path / "a"), str(tmp_path / "b"), QUICK)
    label = (np.arange(40) + 1).astype(np.int32) % 2
    columns = {"label": label, "score:a": np.zeros(40), "score:b": np.zeros(40)}
    written(tmp_path / "c", PredictionFacts("student", "set", "ct", "zero_shot"), columns)
    with pytest.raises(DataError, match="the same samples differ in label"):
        body(str(tmp_path / "a"), str(tmp_path / "c"), QUICK)


def test_who_is_meant(runs: tuple[str, str], tmp_path: Path) -> None:
    assert opened(runs[1]).name == "student"
    assert opened(f"{runs[1]}/evaluate:chance").name == "chance"
    for model in ("theirs", "chance"):
        predicted(tmp_path / "one", model, "set", shares(0.5))
        predicted(tmp_path / "two", model, "set", shares(0.5))
    predicted(tmp_path / "two", "other", "set", shares(0.5))
    assert opened(str(tmp_path / "one")).name == "theirs"
    with pytest.raises(ConfigError, match="has the models other, theirs; name one of them"):
        opened(str(tmp_path / "two"))
    with pytest.raises(ConfigError, match="has no model 'nobody'; it has chance, theirs"):
        opened(f"{tmp_path / 'one'}:nobody")
    with pytest.raises(DataError, match="run 'mmkd evaluate' first"):
        opened(str(tmp_path / "nowhere"))


def test_nothing_in_common_and_nothing_to_compare(runs: tuple[str, str], tmp_path: Path) -> None:
    predicted(tmp_path / "c", "student", "elsewhere", shares(0.5))
    with pytest.raises(DataError, match="no data set in common"):
        body(runs[0], str(tmp_path / "c"), QUICK)
    with pytest.raises(ConfigError, match="compared with itself"):
        body(runs[0], runs[0], QUICK)


def test_sets_with_few_groups_are_in_no_mean_of_the_two(runs: tuple[str, str]) -> None:
    for run, share in zip(runs, (0.0, 1.0), strict=True):
        predicted(Path(run) / "evaluate", "student", "few", shares(share), group=[f"p{row % 7}" for row in range(40)])
    found = body(*runs, replace(QUICK, least_groups=20))
    lines = {(line.comparison.dataset, line.comparison.subset): line for line in found.lines if line.deciding}
    assert lines["mean", "all"].comparison.difference == pytest.approx(0.2)  # with it: (0.4 + 0.2 + 0.0 - 1.0) / 4
    assert lines["mean", "in general"].comparison.difference == pytest.approx(0.2)
    few = lines["few", "all"].comparison
    assert (few.difference, few.is_counted, few.p_holm is None) == (-1.0, False, False)
    told = "few has 7 groups, evaluate.least_groups asks for 20"
    shown = CliRunner().invoke(APP, [*runs, "--bootstrap", "300", "--least-groups", "20"]).output
    assert told in shown.replace("\n", " ")
    asked = [*runs, "--bootstrap", "300", "--least-groups", "20", "--json"]
    (notice,) = json.loads(CliRunner().invoke(APP, asked).output)["notices"]
    assert told in notice


@pytest.mark.parametrize(("least", "counting"), [(41, ["large"]), (43, [])])
def test_where_one_set_counts_or_none_the_two_have_no_mean(
    runs: tuple[str, str], least: int, counting: list[str]
) -> None:
    for run in runs:
        predicted(Path(run) / "evaluate", "student", "large", shares(0.5, 42))
    found = body(*runs, replace(QUICK, least_groups=least))
    rows = [line.comparison for line in found.lines if line.deciding]
    assert [row.dataset for row in rows if row.is_counted] == counting
    assert "mean" not in {row.dataset for row in rows}
    assert ("there is no mean" in found.notices[-1]) == (not counting)


def test_the_command_prints_a_table_or_json(runs: tuple[str, str]) -> None:
    shown = CliRunner().invoke(APP, [*runs, "--bootstrap", "300"]).output
    assert all(word in shown for word in ("Zero-shot classification", "set0", "mean, in general", "+40.0 [", "McNemar"))
    assert "was evaluated on zero_shot/another" in shown.replace("\n", " ")
    plain = json.loads(CliRunner().invoke(APP, [*runs, "--bootstrap", "300", "--json"]).output)
    assert {line["metric"] for line in plain["lines"]} >= {"accuracy", "macro_auc"}
    assert plain["only_second"] == ["zero_shot/another"]
