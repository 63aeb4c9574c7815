"""The rows of an ablation: `results.jsonl` of each run, and of all of them."""

from dataclasses import dataclass
from pathlib import Path

from mmkd.folders.json_lines import read_rows

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


def read_results(path: Path) -> list[Row]:
    """Raises DataError for a line that is no row."""
    return read_rows(path, Row, "row of an ablation", "delete the file")


def run_folder(out: Path, variant: str, seed: int) -> Path:
    return out / variant / f"seed-{seed}"
