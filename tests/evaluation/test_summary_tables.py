"""What is printed: units, marks, gaps in the table, the number of metrics."""

from dataclasses import replace
from pathlib import Path

import pytest

from mmkd.evaluation.format.numbers import shown_p
from mmkd.evaluation.format.results import BEST_TEACHER, UNCLEARED, Ranking, Result
from mmkd.evaluation.summary.summary import results_from_predictions
from mmkd.evaluation.summary.tables import MOST, printed
from mmkd.evaluation.tasks.table import TASKS
from predicted_world import QUICK, predicted, shares


def lines(text: str, name: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.split()[:1] == [name]]


def result(model: str, task: str, metric: str, value: float, note: str = "") -> Result:
    return Result(model, "mean", "mean", task, metric, value, value - 0.1, value + 0.1, 9, 0, "p", note)


def test_one_against_all_with_the_data_sets_it_wins(tmp_path: Path) -> None:
    for number in range(3):
        for model, share in (("plip", 0.5), ("student", 0.9), ("chance", 0.5)):
            predicted(tmp_path, model, f"set{number}", shares(share))
    found = results_from_predictions(tmp_path, ["plip"], replace(QUICK, replicates=500))
    text = printed(found.results, found.comparisons, ["plip"], found.rankings)
    assert "Zero-shot classification: accuracy %; * does not clear its null" in text
    assert [row[1] for row in lines(text, "plip")] == ["50.0*", "50.0", "2.00", "+40.0"]
    assert all(row[-5:] == ["3", "/", "0", "/", "3"] for row in lines(text, "best_teacher")[-1:])
    assert "student minus rival, accuracy on average, points" in text
    assert "in general" in text
    assert "ranks by accuracy on 3 data sets" in text
    assert max(map(len, text.splitlines())) <= 160


def test_an_index_is_no_percentage() -> None:
    rows = [result("age", "survival", "harrell_c", 0.6543), result("age", "survival", "integrated_brier", 0.2)]
    text = printed(rows, [], [])
    assert "0.654 [0.554, 0.754]" in text
    assert "Survival prediction: Harrell C\n" in text.replace(TASKS["survival"].title, "Survival prediction")
    assert "%" not in text


def test_survival_is_printed_with_the_events_of_patients() -> None:
    rows = [
        replace(result(model, "survival", "harrell_c", 0.6, note), dataset=name, modality="histopathology")
        for model in ("age", "student")
        for name, note in (("one", "46 events of 120 patients"), ("two", "9 events of 30 patients; of 31 left out: 1"))
    ]
    rows[0] = replace(rows[0], note=f"{rows[0].note}; {UNCLEARED}: chance 0.58")
    best = replace(rows[0], model=BEST_TEACHER, note="plip, chosen by harrell_c on the test data; 46 events")
    text = printed([*rows, best], [], [])
    below = text[text.index("Survival prediction: the data sets") :]
    assert lines(below, "one") == [["one", "46", "events", "of", "120", "patients"]]
    assert [" ".join(row) for row in lines(below, "two")] == ["two 9 events of 30 patients; of 31 left out: 1"]
    others = [replace(row, task="zero_shot", metric="accuracy") for row in rows]
    assert "the data sets" not in printed(others, [], [])


def test_models_without_a_mean_have_a_dash_and_long_lists_are_cut() -> None:
    metrics = [f"metric{number}" for number in range(MOST + 3)]
    rows = [result("a", "zero_shot", name, 0.5) for name in ("accuracy", *metrics)]
    rows.append(Result("b", "set", "ct", "zero_shot", "accuracy", 0.4, None, None, 9, 0, "p"))
    text = printed(rows, [], [])
    assert lines(text, "b") == [["b", "-"]]
    assert "mean over the data sets (4 more in results.jsonl)" in text
    assert f"metric{MOST}" not in text


def test_ranks_are_printed_best_first() -> None:
    ranking = Ranking("zero_shot", "accuracy", ["a", "b"], 5, [1.2, 1.8], 1.8, 0.18, 0.88, [], [[1.0, 0.5], [0.5, 1.0]])
    text = printed([result("a", "zero_shot", "accuracy", 0.5)], [], [], [ranking])
    assert text.index("1.20") < text.index("1.80")
    assert "Friedman p = 0.180; ranks 0.88 apart differ" in text


@pytest.mark.parametrize(("p", "text"), [(0.5, "0.500"), (0.001, "0.001"), (0.0004, "<0.001")])
def test_no_p_is_printed_as_zero(p: float, text: str) -> None:
    assert shown_p(p) == text
