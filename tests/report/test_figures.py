"""The figures hold the numbers they are given."""

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mmkd.evaluation.format.numbers import gain, p_text, scale_of, spread
from mmkd.evaluation.format.results import Comparison, Ranking, Result
from mmkd.report import curves, figures, maps, plot
from mmkd.report.plot import Axis, Bar, Figure, Line, Plot, numeric, round_ticks, short_number
from mmkd.report.render import environment
from mmkd.report.summary import verdict
from mmkd.statistics.calibration import ReliabilityBin
from mmkd.statistics.survival.kaplan_meier import kaplan_meier
from mmkd.statistics.survival.outcomes import Outcomes


def result(model: str, value: float, low: float | None, high: float | None, metric: str = "accuracy") -> Result:
    return Result(model, "a", "ct", "zero_shot", metric, value, low, high, 10, 0, "p")


def difference(
    rival: str, low: float | None, high: float | None, metric: str = "accuracy", task: str = "zero_shot"
) -> Comparison:
    middle = 0.0 if low is None or high is None else (low + high) / 2
    return Comparison("student", rival, "a", "ct", task, metric, middle, low, high, 0.5, 10)


def test_means_stand_at_their_values_with_their_bounds() -> None:
    drawn = figures.means_plot([result("plip", 0.5, 0.4, 0.7), result("student", 0.9, None, None)], "student", ["plip"])
    first, second = drawn.marks
    assert (first.x, first.low, first.high) == pytest.approx((50, 40, 70))
    assert (second.x, second.low, second.high) == (pytest.approx(90), None, None)
    assert first.symbol != second.symbol
    assert drawn.x.low < 40 < 90 < drawn.x.high


def test_a_c_index_is_no_percentage() -> None:
    drawn = figures.means_plot([result("age", 0.612, 0.5, 0.7, "harrell_c")], "student", [])
    assert drawn.marks[0].x == 0.612
    assert spread(result("age", 0.612, 0.5, 0.7, "harrell_c")) == "0.612 [0.500, 0.700]"
    assert spread(result("x", 0.612, 0.5, 0.7)) == "61.2 % [50.0, 70.0]"
    assert gain(difference("x", 0.1, 0.2)) == "+15.0 points [+10.0, +20.0]"
    assert scale_of("accuracy").value(None) == "–"
    assert (p_text(0.0004), p_text(0.0312)) == ("p < 0.001", "p = 0.031")


def test_a_forest_has_a_line_for_each_group_and_a_mark_for_each_rival() -> None:
    groups = {
        name: [difference("plip", 0.0, 0.2), difference("best_teacher", -0.2, 0.1)] for name in ("a", "b", "mean")
    }
    drawn = figures.forest_plot(groups, "student", ["plip"], emphasised=["mean"])
    assert [(tick.text, tick.bold) for tick in drawn.y.ticks] == [("a", False), ("b", False), ("mean", True)]
    plip, best = drawn.marks[::2], drawn.marks[1::2]
    assert {mark.colour for mark in plip}.isdisjoint(mark.colour for mark in best)
    assert [round(mark.y) for mark in plip] == [round(mark.y) for mark in best] == [0, 1, 2]
    assert min(abs(one.y - other.y) for one, other in zip(plip, best, strict=True)) > 0.1  # no mark covers another


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
    drawn = figures.radar_plot(table, ["ct", "mri", "oct"], "student", scale_of("accuracy"))
    assert [mark.says for mark in drawn.marks if "student" in mark.says] == [
        "student, ct: 50.0 %",
        "student, mri: 70.0 %",
        "student, oct: 90.0 %",
    ]
    edges = {
        colour: [line for line in drawn.lines if line.colour == colour and line.kind == "line"]
        for colour in ("ours", "blue")
    }
    assert len(edges["ours"]) == 3
    assert {point for line in edges["ours"] for point in line.points} == {(m.x, m.y) for m in drawn.marks[:3]}
    assert len(edges["blue"]) == 1  # from oct to ct; mri was not measured
    assert [line.colour for line in drawn.lines if line.kind == "area"] == ["ours"]
    distance = [float(np.hypot(mark.x, mark.y)) for mark in drawn.marks[:3]]
    assert distance == sorted(distance)
    assert distance[2] == pytest.approx(1)


def test_the_critical_difference_diagram_joins_models_that_do_not_differ() -> None:
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
    drawn = figures.critical_difference_plot(ranking, "student", ["b", "c"])
    (thick,) = [line for line in drawn.lines if line.width == 5]
    assert [x for x, _ in thick.points] == pytest.approx([1.07, 2.03])
    assert [mark.x for mark in drawn.marks] == [1.1, 2.0, 2.9]


def test_no_stem_of_a_critical_difference_diagram_crosses_another_or_a_name() -> None:
    """Each goes down from its rank and then to the left edge, where its name stands outside: those to its left have
    turned before."""
    models, ranks = ["a", "student", "b", "c"], [1.2, 1.9, 2.0, 3.8]
    ranking = Ranking("zero_shot", "accuracy", models, 9, ranks, 9.0, 0.01, 1.1, [["a", "student"]], [])
    drawn = figures.critical_difference_plot(ranking, "student", ["b", "c"])
    stems = [line.points for line in drawn.lines if len(line.points) == 3]
    assert [points[0] for points in stems] == [(rank, 0) for rank in ranks]
    for number, (_, corner, end) in enumerate(stems):
        assert end == (drawn.x.low, corner[1])
        assert all(other[1][1] > corner[1] for other in stems[:number])
    assert [(tick.text, tick.bold) for tick in drawn.y.ticks][:2] == [("a 1.20", False), ("student 1.90", True)]
    assert [tick.place for tick in drawn.y.ticks] == [end[1] for _, _, end in stems]
    assert [text.text for text in drawn.texts] == ["critical difference 1.10"]


def test_a_survival_curve_is_drawn_in_steps_from_one() -> None:
    """Events at 1 and 3 of four patients, one lost at 2: 1 -> 3/4 -> 3/4 * 1/2."""
    curve = kaplan_meier(Outcomes.of(np.array([1, 0, 1, 0]), np.array([1.0, 2.0, 3.0, 4.0])))
    drawn = curves.survival_plot({"low risk": curve})
    (line,) = [line for line in drawn.lines if line.kind == "line"]
    assert [key.name for key in drawn.keys] == ["low risk (4)"]
    assert [x for x, _ in line.points] == [0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [y for _, y in line.points] == pytest.approx([1, 1, 0.75, 0.75, 0.75, 0.75, 0.375, 0.375, 0.375])
    assert [mark.x for mark in drawn.marks] == [2, 4]


def test_reliability_marks_stand_at_confidence_and_accuracy() -> None:
    drawn = curves.reliability_plot([ReliabilityBin(0.5, 0.6, 3, 0.55, 0.4), ReliabilityBin(0.9, 1.0, 30, 0.97, 0.9)])
    assert [(mark.x, mark.y) for mark in drawn.marks] == [(0.55, 0.4), (0.97, 0.9)]
    assert drawn.marks[0].size < drawn.marks[1].size


def test_label_efficiency_is_drawn_over_the_logarithm_of_the_share() -> None:
    drawn = curves.fractions_plot({"student": [(0.01, 0.5), (0.1, 0.6), (1.0, 0.7)]}, "accuracy", "student", [])
    first, second, third = (drawn.x.share(mark.x) for mark in drawn.marks)
    assert second - first == pytest.approx(third - second)
    assert [tick.text for tick in drawn.x.ticks] == ["1 %", "10 %", "100 %"]


def test_bars_of_one_model_do_not_overlap() -> None:
    rows = {"student": [result("student", 0.6, 0.5, 0.7), result("student", 0.4, 0.3, 0.5, "blank_image_accuracy")]}
    one, other = curves.controls_plot(rows).bars
    assert (one.x, other.x) == ((0, 60), (0, 40))
    assert one.y[1] <= other.y[0]


def test_a_confusion_is_in_shares_of_the_true_class() -> None:
    drawn = maps.confusion_plot(["a", "b"], np.array([[3, 1], [0, 0]]))
    ground, *cells = drawn.bars
    assert ground.colour == "faint"
    assert [(cell.opacity, cell.says) for cell in cells] == [
        (0.75, "a predicted as a: 3"),
        (0.25, "a predicted as b: 1"),
    ]
    assert [(text.x, text.y, text.text) for text in drawn.texts] == [
        (0, 0, "75%"),
        (1, 0, "25%"),
        (0, 1, "0%"),
        (1, 1, "0%"),
    ]


def test_two_long_names_that_are_cut_to_one_text_keep_rows_of_their_own() -> None:
    names = ["adenocarcinoma of the upper lobe", "adenocarcinoma of the lower lobe"]
    drawn = maps.confusion_plot(names, np.eye(2, dtype=int))
    assert [tick.place for tick in drawn.y.ticks] == [0, 1]


def test_places_are_in_percent_across_and_in_pixels_down() -> None:
    plot = Plot(Axis(0, 10), Axis(0, 4), 200)
    assert (plot.left(2.5), plot.top(1)) == ("25%", "150")
    assert plot.path(Line([(0, 0), (5, 2), (10, 4)], "ours")) == "M0 200 500 100 1000 0"
    assert plot.path(Line([(0, 0), (5, 2)], "ours", kind="area")) == "M0 200 500 100z"
    assert plot.path(Line([(0, 0), (5, 2)], "ours", kind="round")) == "M0 200h0M500 100h0"
    assert plot.box(Bar((10, 5), (3, 1))) == ("50%", "50", "50%", "100")


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.booleans())
def test_ticks_are_few_ascending_and_between_the_ends(low: float, span: float, whole: bool) -> None:
    high = low + span
    assume(high - low > 1e-9 * max(abs(low), abs(high)))
    ticks = [tick.place for tick in round_ticks(low, high, whole=whole)]
    assert len(ticks) <= 8
    assert ticks == sorted(set(ticks))
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in ticks)
    assert whole or len(ticks) >= 2
    assert not whole or all(tick == round(tick) for tick in ticks)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.25, "0.25"), (1500, "1,500"), (20_000, "20k"), (2.5e6, "2.5M"), (2e-4, "0.0002")]
)
def test_numbers_on_axes_are_short(value: float, text: str) -> None:
    assert short_number(value) == text


@pytest.mark.parametrize("values", [[], [0.0], [3.0, 3.0], [-1.0, 2.0]])
def test_an_axis_has_an_extent_whatever_it_shows(values: list[float]) -> None:
    axis = numeric(values)
    assert axis.low < axis.high
    assert numeric([abs(value) for value in values], zero=True).low == 0


def test_the_plane_of_greatest_variance_is_that_of_a_singular_value_decomposition() -> None:
    value_ND = np.random.default_rng(0).standard_normal((40, 6)) * [5, 3, 1, 1, 1, 1]
    place_N2, share_2 = maps.principal_plane(value_ND)
    left_NN, singular_D, _ = np.linalg.svd(value_ND - value_ND.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(place_N2), np.abs(left_NN[:, :2] * singular_D[:2]), atol=1e-9)
    np.testing.assert_allclose(share_2, (singular_D**2 / (singular_D**2).sum())[:2])


def test_equal_embeddings_have_no_variance_and_still_a_place() -> None:
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


@pytest.mark.parametrize("colour", ["ink", "muted", "ours", "ahead", "behind"])
@pytest.mark.parametrize("ground", ["paper", "faint"])
def test_text_stands_out_on_both_papers(colour: str, ground: str) -> None:
    for one, other in zip(plot.COLOURS[colour], plot.COLOURS[ground], strict=True):
        assert contrast(one, other) >= 4.5


def test_numbers_stand_out_on_the_cells_of_heat_maps() -> None:
    for ink, cell in zip(plot.COLOURS["ink"], plot.COLOURS["heat"], strict=True):
        assert contrast(ink, cell) >= 4.5


@pytest.mark.parametrize("colour", ["ours", "teacher", "limit", "rival", *plot.HUES])
def test_marks_stand_out_on_dark_paper(colour: str) -> None:
    assert contrast(plot.COLOURS[colour][1], plot.COLOURS["paper"][1]) >= 3


def test_a_drawing_is_svg_with_escaped_names_and_what_each_mark_says() -> None:
    drawn = figures.means_plot([result("<b>&", 0.5, 0.4, 0.6)], "student", [])
    ui: Any = environment().get_template("macros.html").module
    text = str(ui.figure(Figure("means", drawn, 'the "means"')))
    root = ElementTree.fromstring(text[text.index("<svg id=") : text.rindex("</svg>") + len("</svg>")])
    assert root.attrib["aria-label"] == 'the "means"'
    assert [title.text for title in root.iter("title")] == ["<b>&: 50.0 % [40.0, 60.0]"]
    (use,), (line,) = list(root.iter("use")), [one for one in root.iter("line") if one.get("class") == "interval"]
    places = [float(text.rstrip("%")) for text in (line.get("x1"), use.get("x"), line.get("x2"))]
    assert places == sorted(places)
    assert plot.label("a" * 40) == "a" * 17 + "…" + "a" * 8
