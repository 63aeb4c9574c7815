"""The figures hold the numbers they are given."""

import json

import numpy as np
import pytest
from report_world import TEACHERS

from mmkd.evaluation.format.results import Comparison, Ranking, Result
from mmkd.report import curves, figures, maps, theme
from mmkd.report.numbers import gain, p_text, scale_of, spread
from mmkd.report.summary import verdict
from mmkd.statistics.calibration import ReliabilityBin
from mmkd.statistics.survival.kaplan_meier import kaplan_meier
from mmkd.statistics.survival.outcomes import Outcomes

NAMES = list(TEACHERS)


def result(model: str, value: float, low: float | None, high: float | None, metric: str = "accuracy") -> Result:
    return Result(model, "a", "ct", "zero_shot", metric, value, low, high, 10, 0, "p")


def difference(
    rival: str, low: float | None, high: float | None, metric: str = "accuracy", task: str = "zero_shot"
) -> Comparison:
    middle = 0.0 if low is None or high is None else (low + high) / 2
    return Comparison("student", rival, "a", "ct", task, metric, middle, low, high, 0.5, 10)


def test_means_stand_at_their_values_with_their_bounds() -> None:
    drawn = figures.means_figure(
        [result("plip", 0.5, 0.4, 0.7), result("student", 0.9, None, None)], "student", ["plip"]
    )
    assert [trace.x[0] for trace in drawn.data] == pytest.approx([50, 90])
    assert drawn.data[0].error_x.array == pytest.approx([20])
    assert drawn.data[0].error_x.arrayminus == pytest.approx([10])
    assert drawn.data[1].error_x.array == pytest.approx([0])
    assert drawn.data[0].marker.symbol != drawn.data[1].marker.symbol


def test_a_c_index_is_no_percentage() -> None:
    drawn = figures.means_figure([result("age", 0.612, 0.5, 0.7, "harrell_c")], "student", [])
    assert drawn.data[0].x == (0.612,)
    assert spread(result("age", 0.612, 0.5, 0.7, "harrell_c")) == "0.612 [0.500, 0.700]"
    assert spread(result("x", 0.612, 0.5, 0.7)) == "61.2 % [50.0, 70.0]"
    assert gain(difference("x", 0.1, 0.2)) == "+15.0 points [+10.0, +20.0]"
    assert scale_of("accuracy").value(None) == "–"
    assert (p_text(0.0004), p_text(0.0312)) == ("p < 0.001", "p = 0.031")


def test_a_forest_has_a_line_for_each_group_and_a_mark_for_each_rival() -> None:
    groups = {
        name: [difference("plip", 0.0, 0.2), difference("best_teacher", -0.2, 0.1)] for name in ("a", "b", "mean")
    }
    drawn = figures.forest_figure(groups, "student", ["plip"], emphasised=["mean"])
    assert [len(trace.x) for trace in drawn.data] == [3, 3]
    assert drawn.layout.yaxis.ticktext == ("a", "b", "<b>mean</b>")
    shift = np.subtract(drawn.data[0].y, drawn.data[1].y)
    assert np.abs(shift).min() > 0.1  # the marks of a line do not cover each other


@pytest.mark.parametrize(
    ("low", "high", "metric", "expected"),
    [
        (0.01, 0.2, "accuracy", "ahead"),
        (-0.2, -0.01, "accuracy", "behind"),
        (0.0, 0.2, "accuracy", "level"),
        (-0.1, 0.2, "accuracy", "level"),
        (None, None, "accuracy", "level"),
        (0.01, 0.2, "image_to_text_median_rank", "behind"),
    ],
)
def test_verdicts_go_by_the_interval(low: float | None, high: float | None, metric: str, expected: str) -> None:
    task = "retrieval" if "rank" in metric else "zero_shot"
    assert verdict(difference("plip", low, high, metric, task)) == expected


def test_a_radar_closes_and_leaves_out_what_was_not_measured() -> None:
    table = {"student": {"ct": 0.5, "mri": 0.7, "oct": 0.9}, "plip": {"ct": 0.4, "oct": 0.5}}
    drawn = figures.radar_figure(table, ["ct", "mri", "oct"], "student", scale_of("accuracy"))
    assert drawn.data[0].r == pytest.approx((50, 70, 90, 50))
    assert drawn.data[1].r[1] is None
    assert drawn.data[0].fill == "toself"
    assert drawn.data[1].fill is None


def test_the_critical_difference_diagram_joins_those_alike() -> None:
    ranking = Ranking(
        "zero_shot",
        "accuracy",
        ["student", "b", "c"],
        9,
        [1.1, 2.0, 2.9],
        9.0,
        0.01,
        1.1,
        [["student", "b"], ["c"]],
        [],
    )
    drawn = figures.critical_difference_figure(ranking, "student", ["b", "c"])
    thick = [trace for trace in drawn.data if trace.line.width == 5]
    assert len(thick) == 1
    assert thick[0].x == pytest.approx((1.07, 2.03))


def test_a_survival_curve_is_drawn_in_steps_from_one() -> None:
    """Events at 1 and 3 of four patients, one lost at 2: 1 -> 3/4 -> 3/4 * 1/2."""
    curve = kaplan_meier(Outcomes.of(np.array([1, 0, 1, 0]), np.array([1.0, 2.0, 3.0, 4.0])))
    drawn = curves.survival_figure({"low risk": curve})
    line = next(trace for trace in drawn.data if trace.mode == "lines" and trace.name)
    assert line.name == "low risk (4)"
    assert list(line.x) == [0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert list(line.y) == [1, 1, 0.75, 0.75, 0.75, 0.75, 0.375, 0.375, 0.375]
    lost = next(trace for trace in drawn.data if trace.mode == "markers")
    assert list(lost.x) == [2, 4]


def test_reliability_marks_stand_at_confidence_and_share_correct() -> None:
    drawn = curves.reliability_figure([ReliabilityBin(0.5, 0.6, 3, 0.55, 0.4), ReliabilityBin(0.9, 1.0, 30, 0.97, 0.9)])
    assert list(drawn.data[1].x) == [0.55, 0.97]
    assert list(drawn.data[1].y) == [0.4, 0.9]
    assert drawn.data[1].marker.size[0] < drawn.data[1].marker.size[1]


def test_a_confusion_is_in_shares_of_the_true_class() -> None:
    drawn = maps.confusion_figure(["a", "b"], np.array([[3, 1], [0, 0]]))
    assert [list(row) for row in drawn.data[0].z] == [[0.75, 0.25], [0, 0]]
    assert drawn.data[0].customdata[0][1] == "a called b: 1"


def test_two_long_names_that_are_cut_alike_keep_rows_of_their_own() -> None:
    names = ["adenocarcinoma of the upper lobe", "adenocarcinoma of the lower lobe"]
    drawn = maps.confusion_figure(names, np.eye(2, dtype=int))
    assert len(set(drawn.data[0].x)) == 2


def test_the_plane_of_greatest_variance_is_that_of_a_singular_value_decomposition() -> None:
    value_ND = np.random.default_rng(0).standard_normal((40, 6)) * [5, 3, 1, 1, 1, 1]
    place_N2, share_2 = maps.principal_plane(value_ND)
    left_NN, singular_D, _ = np.linalg.svd(value_ND - value_ND.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(place_N2), np.abs(left_NN[:, :2] * singular_D[:2]), atol=1e-9)
    np.testing.assert_allclose(share_2, (singular_D**2 / (singular_D**2).sum())[:2])


def test_one_picture_seen_many_times_has_no_variance_and_still_a_place() -> None:
    place_N2, share_2 = maps.principal_plane(np.ones((5, 4)))
    assert np.isfinite(place_N2).all()
    assert np.isfinite(share_2).all()


def contrast(first: str, second: str) -> float:
    """WCAG 2.1's contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colour", [theme.INK, theme.MUTED, theme.OURS, theme.AHEAD, theme.BEHIND])
@pytest.mark.parametrize("ground", [theme.PAPER, theme.FAINT])
def test_text_stands_out_on_both_papers(colour: str, ground: str) -> None:
    assert contrast(colour, ground) >= 4.5
    assert contrast(theme.DARK[colour], theme.DARK[ground]) >= 4.5


@pytest.mark.parametrize("colour", [theme.OURS, theme.TEACHER, theme.LIMIT, theme.RIVAL, *theme.HUES])
def test_marks_stand_out_on_dark_paper(colour: str) -> None:
    assert contrast(theme.DARK.get(colour, colour), theme.DARK[theme.PAPER]) >= 3


def test_names_are_never_markup_in_a_figure() -> None:
    drawn = figures.means_figure([result("<b>&", 0.5, 0.4, 0.6)], "student", [])
    assert "<b>&" not in json.dumps(json.loads(drawn.to_json())["data"][0]["y"])
    assert theme.label("a" * 40) == "a" * 17 + "…" + "a" * 8
