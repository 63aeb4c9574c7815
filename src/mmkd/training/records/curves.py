"""Training curves as numbers: which runs a folder holds, and what their records say."""

from collections.abc import Sequence
from glob import glob
from pathlib import Path

from mmkd.training.records.metrics_log import METRICS, Record, read_metrics

PAGE = "curves.html"  # of a run's folder
PARTIAL = ".partial"
VALIDATION = "val_"  # begins the names of validation metrics
STEP, TOTAL = "step", "loss"
MEASURES = (
    ("lr", "Learning rate", "linear warm-up, then half a cosine to zero"),
    ("grad_norm", "Gradient norm", "before it is clipped"),
    ("logit_scale", "Logit scale", "factor on the cosines in the contrastive loss; at most 100"),
    ("pairs_per_s", "Pairs per second", "of all processes together"),
    ("wait", "Waiting for data", "share of the time in which the step waited for its batch"),
    ("mfu", "Model FLOP utilisation", "share of the machine's peak"),
    ("tflops", "TFLOP per second", "of the student, per process"),
    ("memory_gb", "Memory", "peak of the device, in GB"),
    ("skipped", "Skipped steps", "whose loss or gradient was not finite"),
)
"""What a record has beside its step, the losses and the validation: name, title, meaning; in the order of the page."""

ORDER = ("distill", "rivals", "pretrain", "specialists")  # the student first; other folders follow
MOST_POINTS = 1000  # of a curve: more cannot be distinguished on a screen
Points = list[tuple[int, float]]  # step, value


def find_metrics(out: Path) -> dict[str, Path]:
    """Name of each training below the folder (`pretrain`, `rivals/mmkd`) -> its metrics file, the student first.

    A training that goes on has its final name; it takes the place of a finished one that it will replace.
    """
    found: dict[str, Path] = {}
    places = {Path(path).parent.as_posix() for path in glob(f"**/{METRICS}", root_dir=out, recursive=True)}
    for place in sorted(places):  # NAME comes before NAME.partial
        found[place.removesuffix(PARTIAL)] = out / place / METRICS
    return {name: found[name] for name in sorted(found, key=_place)}


def _place(name: str) -> tuple[int, str]:
    first = name.split("/")[0]
    return (ORDER.index(first) if first in ORDER else len(ORDER), name)


def have_written_since_page(out: Path) -> bool:
    """Whether some training below the folder has written since the page was, or there is no page."""
    page = out / PAGE
    made = page.stat().st_mtime_ns if page.is_file() else 0
    return any(path.stat().st_mtime_ns > made for path in find_metrics(out).values())


def read_curves(out: Path) -> dict[str, list[Record]]:
    """Name -> records of every training below the folder that has any. Raises DataError as `read_metrics`."""
    read = {name: read_metrics(path) for name, path in find_metrics(out).items()}
    return {name: records for name, records in read.items() if records}


def points(records: Sequence[Record], value: str) -> Points:
    """The finite values of a name, by step; thinned where there are too many to draw."""
    found = [(int(record[STEP] or 0), number) for record in records if (number := record.get(value)) is not None]
    return thinned(found, MOST_POINTS)


def thinned(found: Points, most: int) -> Points:
    """At most `most` points: the lowest and the highest of each stretch of steps, so that no spike is lost."""
    if len(found) <= most:
        return found
    stretches = most // 2
    kept: Points = []
    for number in range(stretches):
        part = found[number * len(found) // stretches : (number + 1) * len(found) // stretches]
        ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        kept += sorted(ends)
    return kept


def loss_names(records: Sequence[Record]) -> list[str]:
    """The named losses, in the order of their first record: all that is nothing else."""
    known = {STEP, TOTAL, *(name for name, _, _ in MEASURES)}
    names = dict.fromkeys(name for record in records for name in record)
    return [name for name in names if name not in known and not name.startswith(VALIDATION)]


def validation_names(records: Sequence[Record]) -> list[str]:
    """The validation metrics, higher is better."""
    return list(dict.fromkeys(name for record in records for name in record if name.startswith(VALIDATION)))
