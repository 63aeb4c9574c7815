"""Records of a training: `metrics.jsonl`, TensorBoard and Weights & Biases beside it by switch, and `skipped.jsonl`."""

import json
import math
import os
import uuid
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmkd.errors import ConfigError, DataError
from mmkd.folders.atomic import write_json
from mmkd.folders.json_lines import write_json_lines

METRICS = "metrics.jsonl"
WANDB_RUN = "wandb_run.json"  # which run of Weights & Biases a resumed training goes on with
PROJECT = "mmkd"
TAIL_BYTES = 65536  # more than the longest record
Record = dict[str, float | None]  # `step` and named numbers; None is a number that was not finite
SKIPPED = "skipped.jsonl"


class MetricsLog:
    """Appends records; after a resume the records of steps that will be repeated are dropped first.

    first_step: the step that training goes on after, 0 at the start. track: names in `TRACKERS`. name: of the run,
    there. Raises ConfigError as `check_tracking` does, and DataError for a damaged file.
    """

    def __init__(self, folder: Path, first_step: int, track: Sequence[str] = (), name: str = "") -> None:
        check_tracking(track)
        self.path = folder / METRICS
        kept = [record for record in read_metrics(self.path) if (record["step"] or 0) <= first_step]
        write_json_lines(self.path, kept)
        self._trackers = [TRACKERS[one](folder, first_step, name) for one in track]

    def write(self, record: Mapping[str, float]) -> None:
        """Append one record; it must have `step`. What is not finite is written as null, so that the file is JSON.

        Raises OSError on a full disk, the file as it was.
        """
        finite = {key: value for key, value in record.items() if math.isfinite(value)}
        self._append(json.dumps({key: finite.get(key) for key in record}) + "\n")
        values = {key: value for key, value in finite.items() if key != "step"}
        for tracker in self._trackers:
            tracker.write(int(record["step"]), values)

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()

    def _append(self, line: str) -> None:
        size = self.path.stat().st_size
        try:
            with self.path.open("a") as stream:
                stream.write(line)
        except OSError:  # a full disk takes a part of a line, which the next one would be joined to
            os.truncate(self.path, size)
            raise


class TensorBoard:
    """Event files in `tensorboard/`; those of steps that will be repeated are hidden."""

    def __init__(self, folder: Path, first_step: int, name: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(folder / "tensorboard", purge_step=first_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of the project `mmkd`, or the one that WANDB_PROJECT names; a resumed training is the same run.

    Steps that are repeated after a resume have the numbers they had: the service keeps the first ones.
    """

    def __init__(self, folder: Path, first_step: int, name: str) -> None:
        import wandb

        place = folder / WANDB_RUN
        if not place.is_file():
            write_json(place, {"id": uuid.uuid4().hex[:12]})
        run_id = json.loads(place.read_text())["id"]
        project = None if "WANDB_PROJECT" in os.environ else PROJECT
        self._run: Any = wandb.init(project=project, id=run_id, name=name or None, dir=str(folder), resume="allow")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, type[TensorBoard] | type[WeightsAndBiases]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}


def check_tracking(track: Sequence[str]) -> None:
    """Raise ConfigError for a tracker whose package is not installed; cheap, so call it before any work."""
    missing = [one for one in track if find_spec(one) is None]
    if missing:
        raise ConfigError(
            f"machine.track names {' and '.join(missing)}, but the package is not installed; "
            "run: pip install 'mmkd[track]', or take it out of machine.track"
        )


def read_metrics(path: Path) -> list[Record]:
    """The records of a metrics file, none where there is no file; a last line that was cut off by a kill is left out.

    Raises DataError for any other line that is no record.
    """
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    records = []
    for number, line in enumerate(lines, start=1):
        record = _record(line)
        if record is not None:
            records.append(record)
        elif line.strip() and number < len(lines):  # every whole line ends with a newline
            raise DataError(f"{path}, line {number}: expected a JSON object with step, found {line[:60]!r}; delete it")
    return records


def last_record(path: Path) -> Record | None:
    """The last whole record; only the end of the file is read. None where there is none."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = stream.read().split(b"\n")
    return next((record for line in reversed(lines) if (record := _record(line)) is not None), None)


def _record(line: bytes) -> Record | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("step"), int | float) else None


def list_skipped(folder: Path, skipped: Sequence[Mapping[str, Any]]) -> None:
    """Have the file list these steps and no others; without any there is no file."""
    if not skipped:
        (folder / SKIPPED).unlink(missing_ok=True)
        return
    write_json_lines(folder / SKIPPED, skipped)


def count_skipped(folder: Path) -> int:
    path = folder / SKIPPED
    return len(path.read_text().splitlines()) if path.is_file() else 0
