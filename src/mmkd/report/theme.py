"""The colours and marks of the pages: one for each kind of model, in a light and a dark form.

Hues are distinguishable with any of the common colour deficiencies: Okabe and Ito's and Paul Tol's sets.
"""

from collections.abc import Sequence

from mmkd.evaluation.format.results import BEST_TEACHER, NULLS, TEACHERS_CONCAT

# name of the CSS variable and of the class `c-NAME` -> on light and on dark paper
COLOURS = {
    "ink": ("#1f2933", "#e6ebf0"),
    "muted": ("#52606d", "#a5b1bd"),
    "line": ("#e1e6eb", "#2d3844"),
    "paper": ("#ffffff", "#12181f"),
    "faint": ("#eef2f5", "#1b242d"),
    "ours": ("#0f766e", "#2dd4bf"),
    "heat": ("#5aa39d", "#177166"),  # full cells of heat maps, which ink is legible on
    "teacher": ("#64748b", "#94a3b8"),
    "limit": ("#7b5ea7", "#bda4e6"),
    "rival": ("#b45309", "#f0a35e"),
    "null": ("#a3acb6", "#64707d"),
    "ahead": ("#1d5f9e", "#7ab8f0"),
    "behind": ("#b4470b", "#f2935c"),
    "blue": ("#0072b2", "#4aa8e0"),
    "orange": ("#e69f00", "#e69f00"),
    "green": ("#009e73", "#009e73"),
    "pink": ("#cc79a7", "#cc79a7"),
    "sky": ("#56b4e9", "#56b4e9"),
    "vermilion": ("#d55e00", "#d55e00"),
    "indigo": ("#332288", "#8f7fe8"),
    "olive": ("#999933", "#999933"),
    "wine": ("#882255", "#d46a9f"),
    "forest": ("#117733", "#4cb06c"),
}
HUES = ("blue", "orange", "green", "pink", "sky", "vermilion", "indigo", "olive", "wine", "forest")
SERIES = ("ours", *HUES)
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle", "cross")
KIND_SYMBOLS = {
    "ours": "circle",
    "limit": "diamond",
    "null": "cross",
    "teacher": "circle-open",
    "rival": "square-open",
}
ROW_PX = 27


def kind_colour(model: str, main: str, teachers: Sequence[str]) -> str:
    """One colour for each kind of model: the one the report is about, teacher, made of teachers, null, any other."""
    if model == main:
        return "ours"
    if model in (BEST_TEACHER, TEACHERS_CONCAT):
        return "limit"
    if model in NULLS:
        return "null"
    return "teacher" if model in teachers else "rival"


def kind_symbol(model: str, main: str, teachers: Sequence[str]) -> str:
    """A mark for each kind of model, so that no figure depends on colour alone."""
    return KIND_SYMBOLS[kind_colour(model, main, teachers)]


def label(text: str, longest: int = 26) -> str:
    """Text for a figure, cut in the middle where it is long."""
    return text if len(text) <= longest else f"{text[: longest - 9]}…{text[-8:]}"
