"""The colours of the report, each with its counterpart for a dark background, and the look all figures share.

Hues are told apart by readers with any of the common colour deficiencies: Okabe and Ito's and Paul Tol's sets.
"""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from mmkd.evaluation.format.results import BEST_TEACHER, NULLS, TEACHERS_CONCAT

INK, MUTED, GRID, PAPER, FAINT = "#1f2933", "#52606d", "#e1e6eb", "#ffffff", "#eef2f5"
OURS, TEACHER, LIMIT, RIVAL, NULL = "#0f766e", "#64748b", "#7b5ea7", "#b45309", "#a3acb6"
AHEAD, BEHIND = "#1d5f9e", "#b4470b"
HUES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#332288", "#999933", "#882255", "#117733")
DARK = {
    INK: "#e6ebf0",
    MUTED: "#a5b1bd",
    GRID: "#2d3844",
    PAPER: "#12181f",
    FAINT: "#1b242d",
    OURS: "#2dd4bf",
    TEACHER: "#94a3b8",
    LIMIT: "#bda4e6",
    RIVAL: "#f0a35e",
    NULL: "#64707d",
    AHEAD: "#7ab8f0",
    BEHIND: "#f2935c",
    "#0072b2": "#4aa8e0",
    "#332288": "#8f7fe8",
    "#882255": "#d46a9f",
    "#117733": "#4cb06c",
}
FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
ROW_PX = 27
LEGEND_PX = 44
TRANSPARENT = "rgba(0,0,0,0)"
WEAK = "30"  # alpha appended to a colour: bands and fills


def kind_colour(model: str, main: str, teachers: Sequence[str]) -> str:
    """One colour for each kind of model: the one the report is about, teacher, made of teachers, null, any other."""
    if model == main:
        return OURS
    if model in (BEST_TEACHER, TEACHERS_CONCAT):
        return LIMIT
    if model in NULLS:
        return NULL
    return TEACHER if model in teachers else RIVAL


def kind_symbol(model: str, main: str, teachers: Sequence[str]) -> str:
    """A mark for each kind of model, so that no figure hangs on colour alone."""
    if model == main:
        return "circle"
    if model in (BEST_TEACHER, TEACHERS_CONCAT):
        return "diamond"
    if model in NULLS:
        return "x-thin-open"
    return "circle-open" if model in teachers else "square-open"


def styled(figure: go.Figure, height: int, legend: bool = False) -> go.Figure:
    """The common look. height: pixels of the plot without legend."""
    figure.update_layout(
        template="none",
        height=height + (LEGEND_PX if legend else 0),
        font={"family": FONT, "size": 13, "color": INK},
        margin={"l": 8, "r": 16, "t": 12, "b": 40},
        paper_bgcolor=TRANSPARENT,
        plot_bgcolor=TRANSPARENT,
        showlegend=legend,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 12}},
        hoverlabel={"font": {"family": FONT}},
        dragmode=False,
    )
    axis = {"gridcolor": GRID, "zeroline": False, "automargin": True, "linecolor": GRID, "tickcolor": GRID}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis, ticksuffix="  ")
    return figure


def label(text: str, longest: int = 26) -> str:
    """Text for a figure: escaped, since plotly reads markup, and cut in the middle where it is long."""
    short = text if len(text) <= longest else f"{text[: longest - 9]}…{text[-8:]}"
    return escape(short)
