"""Data sets with few groups: their own rows stay, and no mean, ranking or rank holds them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from above_teachers import accuracies, differences, left_out

from mmkd.evaluation.format.results import (
    CLEAN,
    COMPARISONS,
    IN_GENERAL,
    RESULTS,
    Comparison,
    Overall,
    Ranking,
    Result,
    by_modality,
    read_comparisons,
    read_results,
)
from mmkd.evaluation.summary.scores import Resampling
from mmkd.evaluation.summary.summary import Summary, results_from_predictions, write_summary
from mmkd.evaluation.summary.tables import printed
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.folders.json_lines import write_json_lines
from predicted_world import QUICK, predicted, shares

ASKED = replace(QUICK, least_groups=20)
NOTE = "in no mean: 7 groups, least_groups asks for 20"
LARGE = {"one": ("ct", 0.9, 0.5), "two": ("mri", 0.5, 0.6), "three": ("oct", 0.7, 0.65)}
"""Modality, and shares of the student and of the teacher; 40 samples of 20 patients."""


def large(folder: Path) -> None:
    for dataset, (modality, *values) in LARGE.items():
        for model, share in zip(("student", "teacher"), values, strict=True):
            predicted(folder, model, dataset, shares(share), modality, group=[f"p{row // 2}" for row in range(40)])


def small(folder: Path, dataset: str = "few", modality: str = "ultrasound") -> None:
    """Seven patients; the student has 10 %, the teacher 90 %."""
    for model, share in (("student", 0.1), ("teacher", 0.9)):
        predicted(folder, model, dataset, shares(share), modality, group=[f"p{row % 7}" for row in range(40)])


def accuracy(summary: Summary) -> dict[str, Result]:
    return {name: row for name, row in by_modality(summary.results, "zero_shot", "accuracy")["student"].items()}


def test_means_by_hand_with_and_without_the_small_set(tmp_path: Path) -> None:
    large(tmp_path)
    small(tmp_path)
    every = accuracy(results_from_predictions(tmp_path, ["teacher"], QUICK))
    assert {name: row.value for name, row in every.items()} == pytest.approx(
        {"ct": 0.9, "mri": 0.5, "oct": 0.7, "ultrasound": 0.1, "mean": (0.9 + 0.5 + 0.7 + 0.1) / 4}
    )
    some = accuracy(results_from_predictions(tmp_path, ["teacher"], ASKED))
    assert {name: row.value for name, row in some.items()} == pytest.approx(
        {"ct": 0.9, "mri": 0.5, "oct": 0.7, "mean": 0.7}
    )
    assert (some["mean"].n, some["mean"].note) == (120, "mean over 3 data sets")


def test_a_modality_is_what_its_other_set_says_whatever_the_order(tmp_path: Path) -> None:
    large(tmp_path)
    small(tmp_path, "a_few", "ct")  # before and behind the set that counts
    small(tmp_path, "zfew", "ct")
    found = accuracy(results_from_predictions(tmp_path, ["teacher"], ASKED))
    assert (found["ct"].dataset, found["ct"].value) == ("one", 0.9)


def test_its_own_rows_are_those_of_before_with_a_note(tmp_path: Path) -> None:
    large(tmp_path)
    small(tmp_path)
    before, now = (results_from_predictions(tmp_path, ["teacher"], how) for how in (QUICK, ASKED))
    own = [row for row in now.results if row.dataset == "few"]
    assert {row.is_counted for row in own} == {False}
    assert all(row.note.endswith(NOTE) for row in own)
    plain = [replace(row, note=row.note.removesuffix(NOTE).removesuffix("; "), is_counted=True) for row in own]
    assert plain == [row for row in before.results if row.dataset == "few"]
    assert all(row.is_counted and "in no mean" not in row.note for row in now.results if row.dataset != "few")


def test_everything_over_data_sets_is_as_if_the_set_were_not_there(tmp_path: Path) -> None:
    """Means of both kinds, clean means, ranking and overall ranks."""
    for name in ("with", "without"):
        large(tmp_path / name)
    small(tmp_path / "with")

    def of(name: str, how: Resampling) -> Summary:
        leaks = {"one": ["0"]}
        return results_from_predictions(tmp_path / name, ["teacher"], how, leaked=lambda name: leaks.get(name, ()))

    found, expected = of("with", ASKED), of("without", QUICK)
    assert over(found) == over(expected)
    assert {row.subset for row in over(found)[0]} == {"all", CLEAN, IN_GENERAL}
    ((ranking,), ranked) = found.rankings, found.overall
    assert (ranking.data_sets, ranking.models) == (3, ["student", "teacher"])
    assert ranking.mean_ranks == [(1 + 2 + 1) / 3, (2 + 1 + 2) / 3]
    assert {(row.model, row.firsts, row.settings) for row in ranked} == {("student", 2, 3), ("teacher", 1, 3)}
    assert over(of("with", QUICK)) != over(expected)


def over(summary: Summary) -> tuple[list[Result], list[Comparison], list[Ranking], list[Overall]]:
    results = [row for row in summary.results if row.dataset == "mean"]
    return results, [row for row in summary.comparisons if row.dataset == "mean"], summary.rankings, summary.overall


def test_holms_family_keeps_the_small_set(tmp_path: Path) -> None:
    large(tmp_path)
    small(tmp_path)
    before, now = (results_from_predictions(tmp_path, ["teacher"], how).comparisons for how in (QUICK, ASKED))
    held = {(row.dataset, row.rival): row.p_holm for row in now if row.p_holm is not None}
    assert held == {(row.dataset, row.rival): row.p_holm for row in before if row.p_holm is not None}
    assert {name for name, _ in held} == {*LARGE, "few"}
    assert {row.dataset for row in now if not row.is_counted} == {"few"}


def test_samples_count_where_no_groups_are_known(tmp_path: Path) -> None:
    predicted(tmp_path, "student", "enough", shares(0.5, 20))
    predicted(tmp_path, "student", "few", shares(0.5, 18))
    found = results_from_predictions(tmp_path, [], ASKED)
    notes = {row.dataset: (row.is_counted, row.note) for row in found.results if row.metric == "accuracy"}
    assert notes["few"] == (False, "in no mean: 18 samples, least_groups asks for 20")
    assert notes["enough"][0]
    assert notes["mean"] == (True, "one data set")


def test_a_clean_subset_with_few_groups_is_in_no_clean_mean(tmp_path: Path) -> None:
    large(tmp_path)
    leaks = [str(row) for row in range(28)]  # 14 of the 20 patients of `one`
    found = results_from_predictions(tmp_path, ["teacher"], ASKED, leaked=lambda name: leaks if name == "one" else ())
    rows = [row for row in found.results if (row.model, row.metric) == ("student", "accuracy")]
    (cleaned,) = [row for row in rows if (row.dataset, row.subset) == ("one", CLEAN)]
    assert (cleaned.is_counted, cleaned.note) == (False, "in no mean: 6 groups, least_groups asks for 20")
    means = {row.subset: row.value for row in rows if row.modality == "mean" and row.subset != IN_GENERAL}
    assert means == pytest.approx({"all": 0.7, CLEAN: (0.5 + 0.7) / 2})
    assert not found.notices


def test_the_notices_name_each_small_set_once(tmp_path: Path) -> None:
    large(tmp_path)
    small(tmp_path)
    predicted(tmp_path, "student", "lone", [True] * 4, group=["a"] * 4)
    assert results_from_predictions(tmp_path, ["teacher"], QUICK).notices == [
        "Zero-shot classification: few has 7 groups: intervals from so few are too narrow (see evaluate.least_groups)",
        "Zero-shot classification: lone has 1 group: intervals from so few are too narrow (see evaluate.least_groups)",
    ]
    (first, second) = results_from_predictions(tmp_path, ["teacher"], replace(QUICK, least_groups=7)).notices
    assert first.startswith("Zero-shot classification: few has 7 groups: intervals from so few")
    assert second == (
        "Zero-shot classification: lone has 1 group, evaluate.least_groups asks for 7: it has its own rows and is left "
        "out of all means"
    )


def test_where_no_set_counts_there_is_no_mean_and_the_tables_are_made(tmp_path: Path) -> None:
    small(tmp_path)
    small(tmp_path, "fewer")
    found = results_from_predictions(tmp_path, ["teacher"], ASKED)
    assert found.notices[-1] == (
        "Zero-shot classification: there is no mean, as no data set has the 20 groups that evaluate.least_groups asks "
        "for"
    )
    assert len(found.notices) == 3
    assert {row.dataset for row in found.results} == {row.dataset for row in found.comparisons} == {"few", "fewer"}
    assert (found.rankings, found.overall) == ([], [])
    assert printed(found.results, found.comparisons, ["teacher"]) == ""
    write_summary(tmp_path, found)
    assert read_results(tmp_path) == found.results
    assert read_comparisons(tmp_path) == found.comparisons


def test_the_printed_tally_is_of_the_sets_of_the_mean(tmp_path: Path) -> None:
    """The student is surely better on `one`, worse on `few`, and level on the others."""
    large(tmp_path)
    small(tmp_path)
    for how, tally in ((QUICK, "1 / 1 / 4"), (ASKED, "1 / 0 / 3")):
        found = results_from_predictions(tmp_path, ["teacher"], replace(how, replicates=2000))
        text = printed(found.results, found.comparisons, ["teacher"])
        *_, row = [line.split() for line in text.splitlines() if line.split()[:1] == ["teacher"]]
        assert " ".join(row[-5:]) == tally
        assert ("ultrasound" in text) == (how is QUICK)


def test_rows_of_older_evaluations_count(tmp_path: Path) -> None:
    row = Result("m", "d", "ct", "zero_shot", "accuracy", 0.5, None, None, 3, 0, "p")
    gain = Comparison("m", "r", "d", "ct", "zero_shot", "accuracy", 0.1, None, None, 0.5, 3)
    for name, one in ((RESULTS, row), (COMPARISONS, gain)):
        plain = {key: value for key, value in vars(one).items() if key != "is_counted"}
        write_json_lines(tmp_path / name, [plain])
    assert read_results(tmp_path) == [row]
    assert read_comparisons(tmp_path) == [gain]
    assert row.is_counted


def test_evaluations_that_were_made_before_the_key_stand() -> None:
    settings = EvaluateSettings(cards=[Path("card.toml")])
    assert settings.evaluated_with.keys() | {"least_groups"} == EvaluateSettings.model_fields.keys()
    assert "least_groups" not in settings.evaluated_with
    asked = EvaluateSettings(cards=[Path("card.toml")], least_groups=20)
    assert asked.evaluated_with["least_groups"] == 20
    json.dumps(asked.evaluated_with)


def test_the_table_of_seeds_takes_no_left_out_set_for_its_modality(tmp_path: Path) -> None:
    large(tmp_path)
    small(tmp_path, "a_few", "ct")
    small(tmp_path, "few", "ultrasound")
    write_summary(tmp_path, results_from_predictions(tmp_path, ["teacher"], ASKED))
    assert left_out([tmp_path]) == ["a_few", "few"]
    assert accuracies([tmp_path])["student"] == {
        "ct": [90.0], "mri": [50.0], "oct": [70.0], "mean": [pytest.approx(70.0)]
    }  # fmt: skip
    found = {one.modality: one.mean for one in differences([tmp_path]) if one.rival == "teacher"}
    assert found == pytest.approx({"ct": 40.0, "mri": -10.0, "oct": 5.0, "mean": (40 - 10 + 5) / 3})
