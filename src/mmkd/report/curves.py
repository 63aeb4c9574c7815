"""Figures of lines: how far probabilities hold, survival, labels and controls, training; N samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from mmkd.evaluation.format.results import Result
from mmkd.report.numbers import scale_of, spread
from mmkd.report.theme import HUES, MUTED, OURS, RIVAL, WEAK, kind_colour, label, styled
from mmkd.statistics.calibration import ReliabilityBin
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.kaplan_meier import KaplanMeier

SQUARE_PX = 320


def reliability_figure(bins: Sequence[ReliabilityBin]) -> go.Figure:
    """Confidence against share correct; the size of a mark grows with the samples in its bin."""
    total = sum(one.count for one in bins)
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": MUTED, "dash": "dot"}, hoverinfo="skip")
    figure.add_scatter(
        x=[round(one.confidence, 4) for one in bins],
        y=[round(one.correct, 4) for one in bins],
        mode="lines+markers",
        line={"color": OURS},
        marker={"color": OURS, "size": [6 + 18 * (one.count / total) ** 0.5 for one in bins], "opacity": 0.85},
        customdata=[one.count for one in bins],
        hovertemplate="confidence %{x:.2f}, correct %{y:.2f}, %{customdata} samples<extra></extra>",
    )
    _unit_axis(figure, "confidence", "share correct")
    return styled(figure, SQUARE_PX)


def survival_figure(curves: Mapping[str, KaplanMeier]) -> go.Figure:
    """Steps with pointwise intervals and a tick at every censoring. curves: group -> curve, higher risk last."""
    figure = go.Figure()
    for (name, curve), colour, dash in zip(
        curves.items(), (OURS, RIVAL, *HUES), ("solid", "dash", "dot"), strict=False
    ):
        steps = _steps(curve)
        figure.add_scatter(
            x=[*steps.time, *reversed(steps.time)],
            y=[*steps.high, *reversed(steps.low)],
            fill="toself",
            fillcolor=colour + WEAK,
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=steps.time,
            y=steps.survival,
            mode="lines",
            name=f"{label(name)} ({int(curve.at_risk_U[0])})",
            line={"color": colour, "width": 2.4, "dash": dash},
            hovertemplate="%{x:.1f}: %{y:.2f}<extra>" + label(name) + "</extra>",
        )
        lost_U = curve.censored_U > 0
        figure.add_scatter(
            x=np.round(curve.time_U[lost_U], 3).tolist(),
            y=np.round(curve.survival_U[lost_U], 4).tolist(),
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 7, "color": colour},
            hoverinfo="skip",
            showlegend=False,
        )
    figure.update_xaxes(title={"text": "time", "font": {"size": 12}}, rangemode="tozero")
    figure.update_yaxes(title={"text": "alive", "font": {"size": 12}}, range=[-0.02, 1.03])
    return styled(figure, SQUARE_PX, legend=True)


@dataclass(frozen=True)
class Steps:
    """The corners of a step function, from time 0."""

    time: list[float]
    survival: list[float]
    low: list[float]
    high: list[float]


def _steps(curve: KaplanMeier) -> Steps:
    def corners(value_U: Array, first: float) -> list[float]:
        whole = np.concatenate([[first], value_U])
        return [round(float(value), 4) for value in np.repeat(whole, 2)[:-1]]

    time = np.round(np.repeat(np.concatenate([[0.0], curve.time_U]), 2)[1:], 3).tolist()
    return Steps(time, corners(curve.survival_U, 1), corners(curve.low_U, 1), corners(curve.high_U, 1))


def fractions_figure(
    curves: Mapping[str, Sequence[tuple[float, float]]], metric: str, main: str, teachers: Sequence[str]
) -> go.Figure:
    """A line per model over the share of labels it learnt from. curves: model -> (share 0..1, value)."""
    scale = scale_of(metric)
    figure = go.Figure()
    for model, points in curves.items():
        colour = kind_colour(model, main, teachers)
        figure.add_scatter(
            x=[100 * share for share, _ in points],
            y=[scale.factor * value for _, value in points],
            mode="lines+markers",
            line={"color": colour, "width": 3 if model == main else 1.5},
            name=label(model),
            hovertemplate=f"{label(model)}: %{{x:g}} % of the labels, %{{y:.{scale.digits}f}}<extra></extra>",
        )
    ticks = sorted({round(100 * share, 6) for points in curves.values() for share, _ in points})
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g} %" for tick in ticks])
    figure.update_xaxes(title={"text": "share of the training labels", "font": {"size": 12}})
    return styled(figure, SQUARE_PX, legend=True)


def controls_figure(rows: Mapping[str, Sequence[Result]]) -> go.Figure:
    """Bars of a model's answer beside the same without seeing. rows: model -> the metrics of one kind of answer."""
    figure = go.Figure()
    metrics = list(dict.fromkeys(row.metric for found in rows.values() for row in found))
    patterns = ("", "/", "x", ".", "-", "+")
    for number, metric in enumerate(metrics):
        found = [(model, row) for model, by_metric in rows.items() for row in by_metric if row.metric == metric]
        scale = scale_of(metric)
        figure.add_bar(
            y=[label(model) for model, _ in found],
            x=[scale.factor * row.value for _, row in found],
            orientation="h",
            name=label(metric.replace("_", " ")),
            marker={
                "color": (OURS, *HUES[1:])[number],
                "pattern": {"shape": patterns[number % len(patterns)], "size": 5, "fillmode": "overlay"},
            },
            customdata=[spread(row) for _, row in found],
            hovertemplate="%{y}: %{customdata}<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(barmode="group", bargap=0.28)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(ticksuffix=" %")
    figure = styled(figure, 16 * len(rows) * len(metrics) + 90, legend=True)
    figure.update_layout(legend={"traceorder": "normal"})
    return figure


def training_figure(curves: Mapping[str, Sequence[tuple[float, float]]], value: str, small: bool = False) -> go.Figure:
    """A line per training run. curves: name of the run -> (step, value).

    A run has its colour and dash by its place among all, and one without points is not drawn, so that figures of
    several values agree. small: one of many, without a legend.
    """
    figure = go.Figure()
    dashes = ("solid", "dash", "dot", "dashdot")
    for number, (name, points) in enumerate(curves.items()):
        if not points:
            continue
        figure.add_scatter(
            x=[step for step, _ in points],
            y=[height for _, height in points],
            mode="lines" if len(points) > 1 else "markers",
            name=label(name),
            line={"color": (OURS, *HUES)[number % 11], "dash": dashes[number % 4]},
            hovertemplate=f"step %{{x:,}}: %{{y:.4g}}<extra>{label(name)}</extra>",
        )
    figure.update_xaxes(title={"text": "step", "font": {"size": 12}})
    if not small:
        figure.update_yaxes(title={"text": label(value), "font": {"size": 12}})
    tall = 360 + 14 * max(0, len(curves) - 4)  # on a telephone every name of the legend takes a line
    return styled(figure, SQUARE_PX - 60 if small else tall, legend=not small)


def _unit_axis(figure: go.Figure, x: str, y: str) -> None:
    figure.update_xaxes(range=[0, 1.02], title={"text": x, "font": {"size": 12}})
    figure.update_yaxes(range=[-0.02, 1.04], title={"text": y, "font": {"size": 12}})
    figure.update_layout(showlegend=False)
