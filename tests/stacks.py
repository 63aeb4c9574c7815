"""Reliability tables with slopes that a test names, in place of a fit."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mmkd.folders.stage import Stage, complete
from mmkd.reliability.table import GroupStack, ReliabilityTable, save_reliability

Slopes = Mapping[str, float | Mapping[str, float]]
"""Teacher -> its slope in every group, or group -> slope; 0 in those that are not named."""


def stacked(table: ReliabilityTable, slopes: Slopes) -> ReliabilityTable:
    """The table as a fit with these slopes would have left it."""
    cells = [replace(cell, slope=_slope(slopes.get(cell.teacher, 0.0), cell.group)) for cell in table.cells]
    stacks = [GroupStack(group, 100, 0.3, 0.2, 0.4, 0.9, 0.8) for group in table.group_names]
    return replace(table, cells=cells, stacks=stacks)


def write_stacked(table: ReliabilityTable, folder: Path, slopes: Slopes) -> Path:
    """The folder of the stage `reliability` with this table."""

    def body(partial: Path) -> dict[str, int]:
        save_reliability(stacked(table, slopes), partial)
        return {}

    complete(Stage("reliability", folder, {}), body)
    return folder


def _slope(of: float | Mapping[str, float], group: str) -> float:
    return of.get(group, 0.0) if isinstance(of, Mapping) else of
