"""Figures of a corpus: how many records each step left, and how lengths and sizes are spread."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from mmkd.curation.ledger.tally import binned, quantile
from mmkd.report.theme import MUTED, OURS, ROW_PX, label, styled

BINS = 40
FEW = 8  # counts, up to which each has a tick
CUT = 0.995  # a few values far out would press the rest into one bar; the last bar holds them


def funnel_figure(left: Mapping[str, int]) -> go.Figure:
    """A bar per step: what was left after it."""
    figure = go.Figure()
    figure.add_bar(
        x=list(left.values()),
        y=[label(name) for name in left],
        orientation="h",
        marker={"color": OURS},
        text=[f"{count:,}" for count in left.values()],
        textposition="auto",
        hovertemplate="%{y}: %{x:,} left<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(**_count_axis(max(left.values(), default=0)))
    figure.update_layout(bargap=0.25)
    return styled(figure, ROW_PX * len(left) + 64)


def spread_figure(counts: Mapping[int, int], unit: str) -> go.Figure:
    """Bars of equal width. counts: value -> records; must not be empty."""
    most = quantile(counts, CUT)
    held: dict[int, int] = {}
    for value, times in counts.items():
        held[min(value, most)] = held.get(min(value, most), 0) + times
    edges, sums = binned(held, BINS)
    last = len(sums) - 1 if max(counts) > most else None
    spans = [f"{low} or more" if n == last else span_text(low, edges[n + 1]) for n, low in enumerate(edges[:-1])]
    figure = go.Figure()
    figure.add_bar(
        x=[(low + high) / 2 for low, high in pairwise(edges)],
        y=sums,
        width=[high - low for low, high in pairwise(edges)],
        marker={"color": OURS, "line": {"width": 0}},
        customdata=spans,
        hovertemplate=f"%{{customdata}} {unit}: %{{y:,}}<extra></extra>",
    )
    figure.update_xaxes(title={"text": unit, "font": {"size": 12, "color": MUTED}})
    figure.update_yaxes(**_count_axis(max(sums)))
    figure.update_layout(bargap=0.05)
    return styled(figure, 220)


def span_text(low: int, end: int) -> str:
    """The whole numbers from `low` up to, but not with, `end`."""
    return str(low) if end == low + 1 else f"{low} to {end - 1}"


def _count_axis(most: int) -> dict[str, Any]:
    """From nothing on, in whole numbers: of a few, a plot would have half ones."""
    return {"rangemode": "tozero", "tickformat": "~s"} | ({"dtick": 1} if most < FEW else {})
