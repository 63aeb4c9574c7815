"""The rows of an ablation: `results.jsonl` of each run, and of all of them."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from mmkd.errors import DataError
from mmkd.folders.atomic import atomic_file

RESULTS = "results.jsonl"
ACCURACY, SECONDS = "accuracy", "seconds"
STUDENT, STAGE1 = "student", "stage1"


@dataclass(frozen=True)
class Row:
    """One number of one run. model: `student`, `stage1` or a teacher. n: samples, or steps for `seconds` of stage 2."""

    variant: str
    seed: int
    model: str
    metric: str
    dataset: str
    modality: str
    value: float
    n: int


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """One JSON object a line, the whole file or nothing."""
    with atomic_file(path) as stream:
        for row in rows:
            stream.write(json.dumps(asdict(row), allow_nan=False).encode() + b"\n")


def read_rows(path: Path) -> list[Row]:
    """Raises DataError for a line that is no row."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(Row(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}, line {number}: not a row of an ablation ({error}); delete the file") from error
    return rows


def run_folder(out: Path, variant: str, seed: int) -> Path:
    return out / variant / f"seed-{seed}"
