"""Figures of planes: confusion of classes, teachers by modality, embeddings; N pictures, D dimensions, C classes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmkd.report.plot import HUES, ROW_PX, Axis, Bar, Key, Line, Plot, Text, names, numeric
from mmkd.statistics.metrics import Array

DOTS = ("round", "square")
WRITTEN = 12  # classes up to which numbers stand in the cells
COLUMN_PX = 90  # of a cell, at most
GAP = 0.04  # around a cell, in cells


class HeatCell(NamedTuple):
    """shade: 0..1, cut there. text: in the cell. says: under the pointer."""

    row: int
    column: int
    shade: float
    text: str
    says: str


def reliability_map(reliability: Mapping[str, Mapping[str, float]], teachers: Sequence[str]) -> Plot:
    """Heat map of the mean percentile (0..1, .5 is chance) of a pair's own caption: a row per modality."""
    modalities = list(reliability)
    cells = [
        HeatCell(row, column, 2 * (value - 0.5), f"{value:.2f}", f"{teacher}, {modality}: {value:.3f}")
        for row, modality in enumerate(modalities)
        for column, teacher in enumerate(teachers)
        if (value := reliability[modality].get(teacher)) is not None
    ]
    return _heat(names(modalities), names(teachers, across=True), cells, ROW_PX)


def confusion_plot(classes: Sequence[str], count_CC: Array) -> Plot:
    """Rows are true classes and sum to one; columns are the predicted classes."""
    share_CC = count_CC / np.maximum(count_CC.sum(axis=1, keepdims=True), 1)
    cells = [
        HeatCell(
            row,
            column,
            float(share_CC[row, column]),
            f"{share_CC[row, column]:.0%}" if len(classes) <= WRITTEN else "",
            f"{true} predicted as {predicted}: {count_CC[row, column]:,}",
        )
        for row, true in enumerate(classes)
        for column, predicted in enumerate(classes)
    ]
    row_px = min(28, 640 // len(classes))
    return _heat(names(classes, longest=22), names(classes, longest=22, across=True), cells, row_px)


def embedding_plot(groups: Mapping[str, Array]) -> Plot:
    """A cloud per group; groups: name -> its places (n, 2)."""
    lines, keys = [], []
    for number, (name, place_N2) in enumerate(groups.items()):
        colour, shape = HUES[number % len(HUES)], DOTS[number % len(DOTS)]
        lines.append(Line([(float(x), float(y)) for x, y in place_N2], colour, name, kind=shape))
        keys.append(Key(name, colour, "circle" if shape == "round" else "square"))
    return Plot(_bare(lines, 0, "first component"), _bare(lines, 1, "second component"), 440, lines=lines, keys=keys)


def _bare(lines: Sequence[Line], which: int, title: str) -> Axis:
    """An axis without ticks."""
    around = numeric([point[which] for line in lines for point in line.points])
    return Axis(around.low, around.high, title=title)


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


def _heat(rows: Axis, columns: Axis, cells: Sequence[HeatCell], row_px: int) -> Plot:
    """Places are numbers, so that two names that are cut to one text keep rows of their own."""
    bars = [Bar((columns.low, columns.high), (rows.low, rows.high), "faint")]
    for cell in cells:
        if shade := round(min(1.0, max(0.0, cell.shade)), 3):
            x, y = ((place - 0.5 + GAP, place + 0.5 - GAP) for place in (cell.column, cell.row))
            bars.append(Bar(x, y, "heat", cell.says, shade))
    texts = [Text(cell.column, cell.row, cell.text, anchor="middle", halo=False) for cell in cells if cell.text]
    width = 120 + 7 * rows.longest + COLUMN_PX * len(columns.ticks)
    return Plot(columns, rows, row_px * len(rows.ticks), bars=bars, texts=texts, width=width)
