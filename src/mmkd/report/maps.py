"""Figures of planes: confusion of classes, teachers by modality, embeddings; N pictures, D dimensions, C classes."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmkd.report.plot import Axis, Bar, Key, Line, Plot, Text, names, numeric
from mmkd.report.theme import HUES, ROW_PX
from mmkd.statistics.metrics import Array

DOTS = ("round", "square")
WRITTEN = 12  # classes up to which numbers stand in the cells
COLUMN_PX = 90  # of a cell, at most
GAP = 0.04  # around a cell, in cells


def reliability_map(reliability: Mapping[str, Mapping[str, float]], teachers: Sequence[str]) -> Plot:
    """Heat map of the mean percentile (0..1, .5 is chance) of a pair's own caption: a row per modality."""
    modalities = list(reliability)
    found = {
        (row, column): value
        for row, modality in enumerate(modalities)
        for column, teacher in enumerate(teachers)
        if (value := reliability[modality].get(teacher)) is not None
    }
    says = {
        (row, column): f"{teachers[column]}, {modalities[row]}: {value:.3f}" for (row, column), value in found.items()
    }
    texts = {place: f"{value:.2f}" for place, value in found.items()}
    shades = {place: 2 * (value - 0.5) for place, value in found.items()}
    return _heat(names(modalities), names(teachers, across=True), shades, texts, says, ROW_PX)


def confusion_plot(classes: Sequence[str], count_CC: Array) -> Plot:
    """Rows are true classes and sum to one; columns are the predicted classes."""
    total_C = np.maximum(count_CC.sum(axis=1, keepdims=True), 1)
    shares = {place: float(value) for place, value in np.ndenumerate(count_CC / total_C)}
    says = {
        (true, predicted): f"{classes[true]} predicted as {classes[predicted]}: {count:,}"
        for (true, predicted), count in np.ndenumerate(count_CC)
    }
    shades = {place: value for place, value in shares.items() if value > 0}
    texts = {place: f"{value:.0%}" for place, value in shares.items()} if len(classes) <= WRITTEN else {}
    row_px = min(28, 640 // len(classes))
    return _heat(names(classes, longest=22), names(classes, longest=22, across=True), shades, texts, says, row_px)


def embedding_plot(groups: Mapping[str, Array]) -> Plot:
    """A cloud per group; groups: name -> its places (n, 2)."""
    lines, keys = [], []
    for number, (name, place_N2) in enumerate(groups.items()):
        colour, shape = HUES[number % len(HUES)], DOTS[number % len(DOTS)]
        lines.append(Line([(float(x), float(y)) for x, y in place_N2], colour, name, kind=shape))
        keys.append(Key(name, colour, "circle" if shape == "round" else "square"))
    x, y = (numeric([point[axis] for line in lines for point in line.points]) for axis in (0, 1))
    bare = [Axis(one.low, one.high, title=f"{name} component") for one, name in ((x, "first"), (y, "second"))]
    return Plot(*bare, 440, lines=lines, keys=keys)


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


Cells = Mapping[tuple[int, ...], float]
Words = Mapping[tuple[int, ...], str]


def _heat(rows: Axis, columns: Axis, shades: Cells, texts: Words, says: Words, row_px: int) -> Plot:
    """Cells by row and column; shades 0..1. Places are numbers, so that two names that are cut to one text differ."""
    bars = [Bar((columns.low, columns.high), (rows.low, rows.high), "faint")]
    for (row, column), shade in shades.items():
        box = (column - 0.5 + GAP, column + 0.5 - GAP), (row - 0.5 + GAP, row + 0.5 - GAP)
        bars.append(Bar(*box, "heat", says[row, column], round(min(1.0, max(0.0, shade)), 3)))
    written = [Text(column, row, text, anchor="middle", halo=False) for (row, column), text in texts.items()]
    width = 120 + 7 * rows.longest + COLUMN_PX * len(columns.ticks)
    return Plot(columns, rows, row_px * len(rows.ticks), bars=bars, texts=written, width=width)
