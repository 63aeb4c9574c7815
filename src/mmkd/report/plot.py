"""A figure as data: axes, and what stands between them in the units of the axes. `templates/plot.html` draws it as SVG.

Across, the drawing is as wide as the page lets it be; upwards it has `height` pixels. Text keeps its size. Every kind
of model has a colour and a mark; hues are distinguishable with any of the common colour deficiencies: Okabe and Ito's
and Paul Tol's sets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmkd.evaluation.format.results import NULLS, OF_TEACHERS

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
KIND_SYMBOLS = {"ours": "circle", "limit": "diamond", "null": "cross", "teacher": "circle-open", "rival": "square-open"}
ROW_PX = 27
Point = tuple[float, float]
STRETCHED = 1000  # units of a line's own coordinates across the whole width
STEPS = (1, 2, 2.5, 5, 10)
CHARACTERS = 30  # of a tick's text, for which there is room at the left


def kind_colour(model: str, main: str, teachers: Sequence[str]) -> str:
    """One colour for each kind of model: the one the report is about, teacher, made of teachers, null, any other."""
    if model == main:
        return "ours"
    if model in OF_TEACHERS:
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


@dataclass(frozen=True)
class Tick:
    place: float
    text: str
    bold: bool = False


@dataclass(frozen=True)
class Axis:
    """low and high: the ends, left and right or bottom and top; an axis that runs the other way has low > high."""

    low: float
    high: float
    ticks: Sequence[Tick] = ()
    title: str = ""
    grid: bool = True
    slanted: bool = False
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value stands, 0 at the low end and 1 at the high one."""
        places = (self.low, self.high, value)
        low, high, value = map(math.log, places) if self.logarithmic else places
        return (value - low) / (high - low)

    @property
    def longest(self) -> int:
        """Characters of the longest tick."""
        return min(CHARACTERS, max((len(tick.text) for tick in self.ticks), default=0))


@dataclass(frozen=True)
class Mark:
    """says: shown under the pointer. low and high: an interval along the x axis."""

    x: float
    y: float
    colour: str
    says: str = ""
    symbol: str = "circle"
    size: float = 8
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """kind: "line", "area" (filled, without an outline), or "round" or "square" dots at the points."""

    points: Sequence[Point]
    colour: str
    says: str = ""
    dash: str = "solid"
    width: float = 2
    kind: str = "line"


@dataclass(frozen=True)
class Bar:
    """A rectangle; opacity shows the value of a cell in a heat map."""

    x: tuple[float, float]
    y: tuple[float, float]
    colour: str = "ours"
    says: str = ""
    opacity: float = 1


@dataclass(frozen=True)
class Text:
    """anchor: start, middle or end; shift: pixels to the right. halo: keep it apart from lines below it."""

    x: float
    y: float
    text: str
    colour: str = "ink"
    anchor: str = "start"
    shift: float = 0
    bold: bool = False
    halo: bool = True


@dataclass(frozen=True)
class Key:
    """A line of the legend, with a mark or a piece of a line."""

    name: str
    colour: str
    symbol: str = ""
    dash: str = "solid"


@dataclass(frozen=True)
class Plot:
    """Drawn in this order: bars, lines, marks, texts. width: at most, in pixels; 0: as wide as the page."""

    x: Axis
    y: Axis
    height: int
    bars: Sequence[Bar] = ()
    lines: Sequence[Line] = ()
    marks: Sequence[Mark] = ()
    texts: Sequence[Text] = ()
    keys: Sequence[Key] = ()
    width: int = 0

    def left(self, x: float) -> str:
        """A place across, in percent of the width."""
        return f"{100 * self.x.share(x):.5g}%"

    def top(self, y: float) -> str:
        """A place from the top, in pixels."""
        return f"{self.height * (1 - self.y.share(y)):.5g}"

    def path(self, line: Line) -> str:
        """The outline of a line, in STRETCHED units across and pixels down."""
        places = [
            (round(STRETCHED * self.x.share(x)), round(self.height * (1 - self.y.share(y)), 1)) for x, y in line.points
        ]
        if line.kind in ("round", "square"):
            return "".join(f"M{x} {y:g}h0" for x, y in places)
        drawn = " ".join(f"{x} {y:g}" for x, y in places)
        return f"M{drawn}{'z' if line.kind == 'area' else ''}"

    def box(self, bar: Bar) -> tuple[str, str, str, str]:
        """x, y, width and height of a rectangle."""
        left, right = sorted(self.x.share(x) for x in bar.x)
        top, bottom = sorted(1 - self.y.share(y) for y in bar.y)
        across = (f"{100 * left:.5g}%", f"{100 * (right - left):.5g}%")
        return across[0], f"{self.height * top:.5g}", across[1], f"{self.height * (bottom - top):.5g}"


@dataclass(frozen=True)
class Figure:
    """name: its id in the page, a fixed one, so that equal results make equal pages. says: the caption."""

    name: str
    plot: Plot
    says: str


def numeric(
    values: Sequence[float], title: str = "", unit: str = "", zero: bool = False, whole: bool = False, pad: float = 0.05
) -> Axis:
    """An axis around values. zero: from zero on; whole: ticks at whole numbers only."""
    low, high = (min(values, default=0.0), max(values, default=1.0))
    if zero:
        low = min(0.0, low)
    room = pad * (high - low) or (abs(high) * pad or 1.0)
    low, high = low if zero and low == 0 else low - room, high + room
    return Axis(low, high, round_ticks(low, high, unit, whole), title)


def round_ticks(low: float, high: float, unit: str = "", whole: bool = False, count: int = 6) -> list[Tick]:
    """About `count` ticks at round numbers between the ends."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in STEPS if power * factor >= raw * 0.999)
    step = max(1.0, math.ceil(step)) if whole else step
    slack = min(1e-9, 1e-6 * (high - low) / step)  # of rounding, far less than the axis where steps are whole
    first, last = math.ceil(low / step - slack), math.floor(high / step + slack)
    return [Tick(number * step, short_number(number * step) + unit) for number in range(first, last + 1)]


def short_number(value: float) -> str:
    """As on an axis: 0.25, 1,500, 20k, 3M."""
    for least, unit, letter in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / unit:.4g}{letter}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def names(texts: Sequence[str], bold: Sequence[str] = (), longest: int = 26, across: bool = False) -> Axis:
    """An axis of names at 0, 1, 2, ...: down the page, or across it with slanted names."""
    ticks = [Tick(place, label(text, longest), text in bold) for place, text in enumerate(texts)]
    low, high = -0.5, len(texts) - 0.5
    return Axis(low, high, ticks, grid=False, slanted=True) if across else Axis(high, low, ticks, grid=False)
