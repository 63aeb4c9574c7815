"""The figures of the report: results in, plotly figures out."""

from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go

from mmkd.evaluation.results import BEST_TEACHER, MEAN, STUDENT, TEACHERS_CONCAT, Comparison, Result, in_order

TEACHER, LIMIT, RIVAL, OURS = "#9aa5b1", "#7b6ba8", "#d08c3c", "#0f766e"
INK, GRID = "#1f2933", "#e4e7eb"
FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
ROW_PX = 30
SYMBOLS = {
    STUDENT: "circle",
    BEST_TEACHER: "diamond",
    TEACHERS_CONCAT: "diamond-open",
    "stage1": "square-open",
    "contrastive": "square",
    "mmkd": "x",
}


def kind_colour(model: str, teachers: Sequence[str]) -> str:
    """One colour for each kind of model: teacher, what is made of the teachers, rival student, student."""
    if model == STUDENT:
        return OURS
    if model in (BEST_TEACHER, TEACHERS_CONCAT):
        return LIMIT
    return TEACHER if model in teachers else RIVAL


def by_modality_figure(
    table: Mapping[str, Mapping[str, Result]], modalities: Sequence[str], teachers: Sequence[str]
) -> go.Figure:
    """A line per modality (and the mean) with a mark per model; the interval of the student is drawn.

    table: model -> modality -> row, as `evaluation.results.by_modality` gives it.
    """
    rows = [*modalities, MEAN]
    figure = go.Figure()
    for model in in_order(table, teachers):
        found = [table[model][name] for name in rows if name in table[model]]
        is_student = model == STUDENT
        figure.add_scatter(
            x=[100 * row.value for row in found],
            y=[row.modality for row in found],
            error_x=_bars(found) if is_student else None,
            mode="markers",
            name=escape(model),
            marker={
                "color": kind_colour(model, teachers),
                "size": 13 if is_student else 9,
                "symbol": _symbol(model, teachers),
                "line": {"color": "white", "width": 1},
            },
            hovertemplate="%{y}: %{x:.1f} %<extra>" + escape(model) + "</extra>",
        )
    figure.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=rows)
    figure.update_xaxes(range=[0, 102], ticksuffix=" %")
    return _styled(figure, 34 * len(rows) + 60, legend=True)


def means_figure(means: Mapping[str, Result], teachers: Sequence[str]) -> go.Figure:
    """A line per model: the mean over the data sets with its interval. means: model -> row."""
    rows = [means[model] for model in in_order(means, teachers)]
    figure = go.Figure()
    for row in rows:
        colour = kind_colour(row.model, teachers)
        figure.add_scatter(
            x=[100 * row.value],
            y=[escape(row.model)],
            error_x={**_bars([row]), "color": colour},
            mode="markers",
            marker={"color": colour, "size": 11},
            hovertemplate=f"{100 * row.value:.1f} % {escape(interval(row.low, row.high))}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(range=[0, 102], ticksuffix=" %")
    return _styled(figure, ROW_PX * len(rows) + 60)


def gains_figure(rows: Sequence[Comparison], teachers: Sequence[str]) -> go.Figure:
    """A line per rival: the student's gain in points with its paired interval; right of zero the student is better."""
    figure = go.Figure()
    for row in rows:
        colour = kind_colour(row.rival, teachers)
        figure.add_scatter(
            x=[100 * row.difference],
            y=[escape(row.rival)],
            error_x={**_bars([row]), "color": colour},
            mode="markers",
            marker={"color": colour, "size": 11},
            hovertemplate=f"{100 * row.difference:+.1f} points, p = {row.p:.3f}<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="points gained by the student")
    return _styled(figure, ROW_PX * len(rows) + 90)


def reliability_figure(reliability: Mapping[str, Mapping[str, float]], teachers: Sequence[str]) -> go.Figure:
    """Heat map of the mean percentile (0..1, .5 is chance) of a pair's own caption: a row per modality."""
    modalities = list(reliability)
    values = [[reliability[name].get(teacher) for teacher in teachers] for name in modalities]
    figure = go.Figure(
        go.Heatmap(
            x=[escape(teacher) for teacher in teachers],
            y=modalities,
            z=values,
            zmin=0.5,
            zmax=1.0,
            colorscale=[[0.0, "#f4f6f8"], [1.0, OURS]],
            texttemplate="%{z:.2f}",
            hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
            xgap=2,
            ygap=2,
            showscale=False,
        )
    )
    figure.update_yaxes(autorange="reversed")
    return _styled(figure, ROW_PX * len(modalities) + 110)


def curves_figure(curves: Mapping[str, Sequence[tuple[float, float]]], value: str) -> go.Figure:
    """A line per training run. curves: name of the run -> (step, value)."""
    figure = go.Figure()
    for name, points in curves.items():
        figure.add_scatter(
            x=[step for step, _ in points], y=[height for _, height in points], mode="lines", name=escape(name)
        )
    figure.update_xaxes(title="step")
    figure.update_yaxes(title=escape(value))
    return _styled(figure, 360, legend=True)


def interval(low: float | None, high: float | None, sign: str = "") -> str:
    """Bounds in %, as text; empty where there are none. sign: "+" shows the sign of positive numbers."""
    return "" if low is None or high is None else f"[{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def _bars(rows: Sequence[Result | Comparison]) -> dict[str, object]:
    centres = [row.value if isinstance(row, Result) else row.difference for row in rows]
    above = [0.0 if row.high is None else 100 * (row.high - x) for row, x in zip(rows, centres, strict=True)]
    below = [0.0 if row.low is None else 100 * (x - row.low) for row, x in zip(rows, centres, strict=True)]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 2, "width": 0}


def _symbol(model: str, teachers: Sequence[str]) -> str:
    return "circle-open" if model in teachers else SYMBOLS.get(model, "triangle-up")


def _styled(figure: go.Figure, height: int, legend: bool = False) -> go.Figure:
    figure.update_layout(
        height=height + (40 if legend else 0),
        font={"family": FONT, "size": 13, "color": INK},
        margin={"l": 10, "r": 20, "t": 10, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=legend,
        legend={"orientation": "h", "y": -0.18, "yanchor": "top"},
        hoverlabel={"font": {"family": FONT}},
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, automargin=True)
    return figure
