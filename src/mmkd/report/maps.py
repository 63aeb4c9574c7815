"""Figures of planes: confusion of classes, teachers by modality, embeddings; N pictures, D dimensions, C classes."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from mmkd.report.theme import FAINT, HUES, OURS, ROW_PX, label, styled
from mmkd.statistics.metrics import Array

COLOURS = [[0.0, FAINT], [1.0, OURS]]
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "triangle-down", "star", "hexagon", "pentagon")
WRITTEN = 12  # classes up to which numbers stand in the cells


def calibration_figure(reliability: Mapping[str, Mapping[str, float]], teachers: Sequence[str]) -> go.Figure:
    """Heat map of the mean percentile (0..1, .5 is chance) of a pair's own caption: a row per modality."""
    modalities = list(reliability)
    values = [[reliability[name].get(teacher) for teacher in teachers] for name in modalities]
    figure = _heat(
        [label(name) for name in teachers], [label(name) for name in modalities], values, 0.5, 1.0, "%{z:.2f}"
    )
    return styled(figure, ROW_PX * len(modalities) + 110)


def confusion_figure(classes: Sequence[str], count_CC: Array) -> go.Figure:
    """Rows are true classes and sum to one; columns are what the model said."""
    total_C = np.maximum(count_CC.sum(axis=1, keepdims=True), 1)
    share_CC = np.round(count_CC / total_C, 4)
    names = [label(name, 22) for name in classes]
    written = "%{z:.0%}" if len(classes) <= WRITTEN else ""
    figure = _heat(names, names, share_CC.tolist(), 0.0, 1.0, written)
    told = [
        [f"{a} called {b}: {n}" for b, n in zip(names, row, strict=True)]
        for a, row in zip(names, count_CC.tolist(), strict=True)
    ]
    figure.update_traces(customdata=told, hovertemplate="%{customdata}<extra></extra>")
    figure.update_xaxes(tickangle=-40)
    return styled(figure, min(720, 28 * len(classes) + 136))


def embedding_map_figure(groups: Mapping[str, Array]) -> go.Figure:
    """A cloud per group; groups: name -> its places (n, 2)."""
    figure = go.Figure()
    for number, (name, place_N2) in enumerate(groups.items()):
        figure.add_scatter(
            x=np.round(place_N2[:, 0], 4).tolist(),
            y=np.round(place_N2[:, 1], 4).tolist(),
            mode="markers",
            name=label(name),
            marker={
                "color": HUES[number % len(HUES)],
                "symbol": SYMBOLS[number % len(SYMBOLS)],
                "size": 6,
                "opacity": 0.65,
            },
            hovertemplate=label(name) + "<extra></extra>",
        )
    figure.update_xaxes(showticklabels=False, title={"text": "first component", "font": {"size": 12}})
    figure.update_yaxes(showticklabels=False, title={"text": "second component", "font": {"size": 12}})
    return styled(figure, 460, legend=True)


def principal_plane(value_ND: Array) -> tuple[Array, Array]:
    """The two directions of greatest variance: places (N, 2) and the shares of the variance (2,).

    The sign of a direction is that of its largest entry, so that the same vectors make the same picture.
    """
    centred_ND = value_ND.astype(np.float64) - value_ND.mean(axis=0)
    variance_D, direction_DD = np.linalg.eigh(centred_ND.T @ centred_ND)
    plane_D2 = direction_DD[:, :-3:-1]
    plane_D2 = plane_D2 * np.sign(plane_D2[np.abs(plane_D2).argmax(axis=0), np.arange(plane_D2.shape[1])])
    total = max(float(variance_D.sum()), np.finfo(float).tiny)
    return centred_ND @ plane_D2, variance_D[:-3:-1] / total


def _heat(
    columns: Sequence[str], rows: Sequence[str], values: object, low: float, high: float, written: str
) -> go.Figure:
    figure = go.Figure(
        go.Heatmap(
            x=list(range(len(columns))),
            y=list(range(len(rows))),
            z=values,
            zmin=low,
            zmax=high,
            colorscale=COLOURS,
            texttemplate=written or None,
            textfont={"size": 12},
            hovertemplate="%{z:.3f}<extra></extra>",
            xgap=2,
            ygap=2,
            showscale=False,
        )
    )
    # places are numbers: two long names that are cut to the same text must not share a row
    figure.update_xaxes(tickvals=list(range(len(columns))), ticktext=list(columns), showgrid=False)
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=list(rows), autorange="reversed", showgrid=False)
    return figure
