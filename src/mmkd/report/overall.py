"""Mean ranks and numbers of firsts over the settings of all tasks."""

from typing import Any

from mmkd.evaluation.format.numbers import MISSING, firsts_text, rank_text
from mmkd.evaluation.format.results import ALL, Overall
from mmkd.report.source import Evaluated, left_out_lines, task_title
from mmkd.report.view import Cell, Row, Table


def overall_view(evaluated: Evaluated) -> dict[str, Any] | None:
    """A row per model, best first; and each task's mean ranks where there are several tasks."""
    rows = [row for row in evaluated.overall if row.task == ALL]
    if not rows:
        return None
    first = rows[0]
    says = (
        f"{first.models} models in {first.settings} settings (one task on one data set each) on {first.data_sets} data "
        "sets, by each task's first metric; rank 1 is best, equal models share a place and a first. Models that miss a "
        f"setting, null models and best_teacher are left out. Intervals: replicates draw {first.draws}."
    )
    lines = [Row(row.model, [rank_text(row), firsts_text(row)], evaluated.row_kind(row.model)) for row in rows]
    table = Table(["", "mean rank", "firsts"], lines)
    return {"says": says, "left_out": left_out_lines(evaluated), "table": table, "by_task": _by_task(evaluated)}


def _by_task(evaluated: Evaluated) -> Table | None:
    """Mean rank with the number of firsts below, a column per task."""
    found: dict[str, dict[str, Overall]] = {}
    for row in evaluated.overall:
        found.setdefault(row.model, {})[row.task] = row
    tasks = [task for task in evaluated.tasks if any(task in of_model for of_model in found.values())]
    if len(tasks) < 2:
        return None
    lines = [
        Row(model, [_cell(of_model.get(task)) for task in tasks], evaluated.row_kind(model))
        for model, of_model in found.items()
    ]
    return Table(["", *map(task_title, tasks)], lines, "mean rank; below it firsts of all settings")


def _cell(row: Overall | None) -> Cell:
    if row is None:
        return Cell(MISSING, title="not evaluated on every data set")
    return Cell(f"{row.mean_rank:.2f}", small=f"{row.firsts:.3g} of {row.settings}", title=rank_text(row))
