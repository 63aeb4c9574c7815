"""Intervals against hand-worked values and oracles; the summary against rows written by hand."""

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mmkd.ablate.schedule import counted_sets
from mmkd.ablate.settings import Ablation
from mmkd.ablate.summary import (
    ACCURACY,
    SECONDS,
    STAGE1,
    STUDENT,
    Interval,
    Row,
    Summary,
    crossed_bootstrap,
    paired_t,
    summarise,
)
from mmkd.ablate.tables import (
    HEAD,
    as_csv,
    as_markdown,
    cells,
    differences_plot,
    left_out_sentence,
    limit_sentence,
    page,
)
from mmkd.cards.card import Card
from mmkd.cards.samples import Sample
from mmkd.errors import ConfigError
from mmkd.evaluation.data_sets.opened import DataSet


def test_the_t_interval_is_that_of_the_paired_test() -> None:
    rng = np.random.default_rng(0)
    one_SM, other_SM = rng.random((4, 6)), rng.random((4, 6))
    oracle = stats.ttest_rel(one_SM.mean(1), other_SM.mean(1)).confidence_interval(0.95)
    np.testing.assert_allclose(paired_t(one_SM - other_SM), [oracle.low, oracle.high])


def test_three_seeds_by_hand() -> None:
    found = paired_t(np.array([[1.0], [2.0], [3.0]]))  # mean 2, deviation 1, t(2 degrees) = 4.303
    assert found is not None
    np.testing.assert_allclose(found, [2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5], rtol=1e-4)


def test_one_seed_has_no_t_interval_but_one_over_modalities() -> None:
    assert paired_t(np.array([[1.0, 2.0]])) is None
    assert crossed_bootstrap(np.array([[1.0, 2.0]]), np.random.default_rng(0)) == (1.0, 2.0)


def test_the_bootstrap_of_equal_differences_is_a_point_and_else_as_wide_as_theory_has_it() -> None:
    constant = crossed_bootstrap(np.full((3, 4), 0.25), np.random.default_rng(0))
    np.testing.assert_allclose(constant, [0.25, 0.25])
    seed_S = np.random.default_rng(1).standard_normal(40)
    only_seeds = crossed_bootstrap(np.repeat(seed_S[:, None], 5, axis=1), np.random.default_rng(0))
    half = 1.96 * seed_S.std() / 40**0.5  # no variance between modalities: that of a mean over seeds
    np.testing.assert_allclose(only_seeds, [seed_S.mean() - half, seed_S.mean() + half], atol=0.12 * half)


VALUES = {  # variant, model -> seed -> accuracies on two data sets
    ("default", STUDENT): {0: (0.9, 0.8), 1: (0.7, 0.8)},
    ("default", STAGE1): {0: (0.1, 0.1), 1: (1.0, 1.0)},
    ("default", "knows-a"): {0: (1.0, 0.2), 1: (0.8, 0.2)},
    ("default", "knows-b"): {0: (0.5, 1.0), 1: (0.3, 0.8)},
    ("other", STUDENT): {0: (0.8, 0.8)},
    ("third", STUDENT): {1: (0.6, 0.6)},
}
ABLATION = Ablation.model_validate(
    {
        "recipe": "recipe.toml",
        "variants": {
            "other": {"distill": {"epochs": 1}, "line": "curve", "x": 1.0, "about": "another | one"},
            "third": {"distill": {"epochs": 2}, "line": "curve", "x": 2.0, "against": "other"},
            "never": {"distill": {"epochs": 3}},
        },
    }
)


def rows() -> list[Row]:
    found = [
        Row(variant, seed, model, ACCURACY, name, name, value, 10)
        for (variant, model), by_seed in VALUES.items()
        for seed, pair in by_seed.items()
        for name, value in zip("ab", pair, strict=True)
    ]
    return [*found, *(Row(name, 0, STUDENT, SECONDS, "", "", 3.0, 5) for name in ("default", "other", "third"))]


def by_name() -> dict[str, Summary]:
    return {line.variant: line for line in summarise(ABLATION, rows())}


def test_means_limits_and_differences_by_hand() -> None:
    found = by_name()
    assert list(found) == ["default", "other", "third"]  # in the ablation's order, without the one that never ran
    default, other, third = found.values()
    assert default.mean == pytest.approx(0.8)
    assert default.error == pytest.approx((0.1 + 0.2 + 0.1 + 0.0) / 4)  # the limit is that of teachers, not of stage 1
    assert default.worst == pytest.approx(0.8)
    assert default.difference is None
    assert other.difference == pytest.approx((-0.1 + 0.0) / 2)  # on seed 0 alone
    assert other.t is None
    assert other.by_modality == pytest.approx({"a": 0.8, "b": 0.8})
    assert (third.against, third.difference) == ("other", None)  # they share no seed


def test_tables_and_page_hold_every_variant() -> None:
    lines = summarise(ABLATION, rows())
    assert all(len(cells(line)) == len(HEAD) for line in lines)
    told = as_markdown("tiny", "about", lines, rows())
    table = [line for line in told.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in table] == ["variant", "---", "default", "other", "third"]
    read = list(csv.DictReader(io.StringIO(as_csv(lines))))
    assert [float(row["mean"]) for row in read] == [line.mean for line in lines]
    assert float(read[1]["accuracy a"]) == lines[1].by_modality["a"]
    shown = page("tiny", "about", "epochs", lines, rows())
    assert shown.count('<figure class="plot"') == 2
    assert all(f'<th scope="row">{line.variant}</th>' in shown for line in lines)


def test_sets_with_few_groups_are_in_no_number_and_named() -> None:
    """Two sets of modality `a`, one of them with few groups; its students and teachers change nothing."""
    few = [replace(row, dataset="few", value=0.01, is_counted=False) for row in rows() if row.dataset == "a"]
    several = [*few, *rows()]
    assert summarise(ABLATION, several) == summarise(ABLATION, rows())
    assert limit_sentence(several) == limit_sentence(rows()) != ""
    said = "In no number: few, with fewer groups than least_groups asks for."
    lines = summarise(ABLATION, several)
    assert said in as_markdown("tiny", "about", lines, several)
    assert said in page("tiny", "about", "epochs", lines, several)
    assert left_out_sentence(rows()) == ""


def test_a_set_that_one_run_leaves_out_is_left_out_of_those_made_before_the_limit() -> None:
    """The default was run again with it; the others' files do not know the field."""
    found = [replace(row, is_counted=row.dataset != "b" or row.variant != "default") for row in rows()]
    only_a = summarise(ABLATION, [row for row in rows() if row.dataset != "b"])
    assert summarise(ABLATION, found) == only_a
    assert [line.mean for line in only_a] == pytest.approx([0.8, 0.8, 0.6])


def test_a_modality_of_several_sets_has_their_mean() -> None:
    more = [replace(row, dataset="c", value=row.value / 2) for row in rows() if row.dataset == "a"]
    found = {line.variant: line for line in summarise(ABLATION, [*rows(), *more])}
    assert found["default"].by_modality == pytest.approx({"a": (0.9 + 0.7 + 0.45 + 0.35) / 4, "b": 0.8})


def test_which_sets_count_is_decided_by_the_groups_of_the_test_split() -> None:
    def data_set(name: str, groups: list[str]) -> DataSet:
        samples = [Sample(id=str(n), group=group) for n, group in enumerate(groups)]
        facts: dict[str, Any] = {"id": name}
        training = [Sample(id=f"t{n}", split="train", group=f"t{n}") for n in range(9)]
        return DataSet(Card.model_construct(**facts), [*samples, *training], [], [], "")

    sets = [data_set("three", ["a", "b", "c", "a"]), data_set("four", [""] * 4)]
    assert counted_sets(sets, 1) == counted_sets(sets, 3) == ["three", "four"]
    assert counted_sets(sets, 4) == ["four"]
    with pytest.raises(ConfigError, match=r"no data set of \[evaluate\] has the 5 groups in its test split"):
        counted_sets(sets, 5)


def test_the_plot_has_each_difference_in_points_with_its_own_interval() -> None:
    other = by_name()["other"]
    sure = replace(other, difference=-0.05, t=Interval(-0.08, -0.01))
    first, second = differences_plot([sure, other]).marks
    assert (first.x, first.low, first.high) == pytest.approx((-5.0, -8.0, -1.0))
    assert first.colour == "rival"  # its interval lies below 0
    assert (second.low, second.high) == (None, None)  # one seed has none, and says so
    assert (second.colour, second.symbol) == ("muted", "circle-open")
