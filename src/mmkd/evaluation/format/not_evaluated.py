"""What could not be evaluated, and why: beside the results, for the report."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmkd.folders.json_lines import read_rows, write_json_lines

NOT_EVALUATED = "not_evaluated.jsonl"
ABOVE = re.compile(r"(?<![\w.:/])/(?:[^/\n:'\"]+/)*(?=(?:[^/\n:'\"]+/){2})")
"""What an absolute path has above its last three parts: a page that leaves the machine does not show its folders."""


@dataclass(frozen=True)
class NotEvaluated:
    """task, model: "" where it is all of them."""

    dataset: str
    reason: str
    task: str = ""
    model: str = ""

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.dataset, self.task) if part)
        return f"{self.model or 'all models'} on {place}: {self.reason}"


def write_not_evaluated(folder: Path, rows: Sequence[NotEvaluated]) -> None:
    """Leave no file where everything was evaluated; of absolute paths the end is kept."""
    if rows:
        write_json_lines(folder / NOT_EVALUATED, [replace(row, reason=ABOVE.sub("", row.reason)) for row in rows])
    else:
        (folder / NOT_EVALUATED).unlink(missing_ok=True)


def read_not_evaluated(folder: Path) -> list[NotEvaluated]:
    path = folder / NOT_EVALUATED
    return read_rows(path, NotEvaluated, "row of what was not evaluated", "evaluate again") if path.is_file() else []
