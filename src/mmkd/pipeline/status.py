"""How far the runs below a folder are, from the files that stages leave; nothing heavy is imported or loaded."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmkd.curation.ledger.steps import CAPTIONLESS_TRAIN
from mmkd.errors import DataError
from mmkd.executors.plan import NOTES
from mmkd.executors.state import UnitsState, units_beside
from mmkd.folders.locks import is_owned
from mmkd.folders.stage import BEGUN, MANIFEST, read_manifest, status
from mmkd.pipeline.table import STAGES, is_read
from mmkd.training.records.curves import PARTIAL, TOTAL, VALIDATION
from mmkd.training.records.metrics_log import METRICS, last_record

TRAININGS = ("pretrain*", "distill*", "rivals/*", "specialists/*")
CORPUS_OF_A_SPECIALIST = ".corpus"
DEPTH = 4  # folders of runs may lie in folders, as an ablation's do
RESULTS = "evaluate/results.jsonl"
ZERO_SHOT = {
    **{"modality": "mean", "model": "student", "dataset": "mean"},
    **{"task": "zero_shot", "metric": "accuracy", "subset": "all"},
}
"""The row of the results that a run is known by."""


@dataclass(frozen=True)
class TrainingState:
    """The training that was written to last. total: steps; None where the corpus is not here. best: of validation."""

    name: str
    step: int
    total: int | None
    loss: float | None
    pairs_per_s: float | None
    best: float | None
    metric: str


@dataclass(frozen=True)
class RunState:
    """stages: name -> complete, partial, to do or running. written: UTC, ISO 8601. zero_shot: mean accuracy, 0..1.

    recipe: "" until an evaluation or export says it. units: of work that an executor hands out now, or that was cut off
    or has failed. broken: why the folder cannot be read, "" where it can.
    """

    folder: str
    name: str
    recipe: str = ""
    stages: Mapping[str, str] = field(default_factory=dict)
    training: TrainingState | None = None
    zero_shot: float | None = None
    written: str = ""
    units: Sequence[UnitsState] = ()
    broken: str = ""


def find_runs(folder: Path) -> Iterator[Path]:
    """The folder, if it is a run's, or those below it, in the order of their names."""
    yield from _find(folder, DEPTH)


def _find(folder: Path, depth: int) -> Iterator[Path]:
    if is_run(folder):
        yield folder
    elif depth:
        for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
            yield from _find(inner, depth - 1)


def finished_folders(run: Path) -> list[Path]:
    """Of all stages of a run, in the order of their table."""
    named = (sorted(_folders(run, spec.patterns)) for spec in STAGES.values())
    return list(dict.fromkeys(folder for found in named for folder in found if status(folder) == "complete"))


def is_run(folder: Path) -> bool:
    """Whether a stage has worked here whose result others read."""
    made = [pattern for spec in STAGES.values() if is_read(spec) for pattern in spec.patterns]
    return any(_marks(path) for pattern in made for path in _published(folder, pattern))


def _marks(published: Path) -> list[os.stat_result]:
    """Of the files that a stage leaves first, while it works and last, finished or not."""
    partial = published.with_name(published.name + PARTIAL)
    places = [place / name for place in (published, partial) for name in (MANIFEST, BEGUN, METRICS)]
    return [place.stat() for place in places if place.is_file()]


def read_run(folder: Path) -> RunState:
    """The state of a run; a folder that cannot be read is one that says so."""
    place = str(folder)
    try:
        published = {name: _folders(folder, spec.patterns) for name, spec in STAGES.items()}
        return RunState(
            folder=place,
            name=folder.resolve().name,
            recipe=_recipe(folder),
            stages={stage: _state(found) for stage, found in published.items()},
            training=_training(folder),
            zero_shot=_zero_shot(folder / RESULTS),
            units=_units(published.values()),
            written=_written([path for found in published.values() for path in found]),
        )
    except (DataError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return RunState(place, folder.resolve().name, broken=str(error) or repr(error))


def _units(published: Iterable[set[Path]]) -> list[UnitsState]:
    """Of the stages' folders, the specialists' and teachers' among them: their notes lie beside them."""
    homes = {path.parent for found in published for path in found}
    return [one for home in sorted(homes) for one in units_beside(home)]


def _folders(folder: Path, patterns: Sequence[str]) -> set[Path]:
    return {path for pattern in patterns for path in _published(folder, pattern)}


def _state(published: set[Path]) -> str:
    """Running where one folder of the stage is, complete where all are. Raises DataError for a broken manifest."""
    if any(is_owned(path) for path in published):
        return "running"
    states = {status(path) for path in published if not path.name.endswith(CORPUS_OF_A_SPECIALIST)}
    if states == {"complete"}:
        for path in published:
            read_manifest(path)
        return "complete"
    return "partial" if states - {"to do"} else "to do"


def _published(folder: Path, pattern: str) -> set[Path]:
    """Final names of what matches, finished or not; a plain name always."""
    if "*" not in pattern:
        return {folder / pattern}
    found = [path for path in folder.glob(pattern) if path.is_dir() and path.suffix != ".old" and path.name != NOTES]
    return {path.with_name(path.name.removesuffix(PARTIAL)) for path in found}


def _recipe(folder: Path) -> str:
    for stage in ("evaluate", "export"):
        if (folder / stage / MANIFEST).is_file():
            return str(read_manifest(folder / stage)["settings"].get("recipe", ""))
    return ""


def _training(folder: Path) -> TrainingState | None:
    files = [path for place in TRAININGS for path in folder.glob(f"{place}/{METRICS}")]
    if not files:
        return None
    path = max(files, key=lambda one: one.stat().st_mtime)
    last = last_record(path) or {}
    metric, best = _best_validation(path)
    return TrainingState(
        name=path.parent.relative_to(folder).as_posix().removesuffix(PARTIAL),
        step=int(last.get("step") or 0),
        total=_total_steps(folder, path.parent),
        loss=last.get(TOTAL),
        pairs_per_s=last.get("pairs_per_s"),
        best=best,
        metric=metric,
    )


def _best_validation(path: Path) -> tuple[str, float | None]:
    """The first validation metric and its highest value; only lines that have one are read."""
    mark = f'"{VALIDATION}'.encode()
    found: dict[str, float] = {}
    for line in path.read_bytes().split(b"\n"):
        if mark in line and line.endswith(b"}"):
            for name, value in json.loads(line).items():
                if name.startswith(VALIDATION) and value is not None:
                    found[name] = max(value, found.get(name, -math.inf))
    return next(iter(found.items()), ("", None))


def _total_steps(run: Path, training: Path) -> int | None:
    """As the manifest counts them, or as the training will: whole batches of the corpus, times the epochs. Pictures
    without captions count where the training has them; if no teacher knows some, fewer than are counted here."""
    if (training / MANIFEST).is_file():
        return int(read_manifest(training)["counts"]["steps"])
    if not (training / BEGUN).is_file():
        return None
    begun: dict[str, Any] = json.loads((training / BEGUN).read_text())
    corpus = next((run / name for name in begun["inputs"] if name.endswith("corpus")), None)
    if corpus is None or status(corpus) != "complete":
        return None
    settings = begun["settings"].get("pretrain", begun["settings"])
    counts = read_manifest(corpus)["counts"]
    pairs = int(counts["train"])
    if (captionless := counts.get(CAPTIONLESS_TRAIN, 0)) and not _draws_captions(begun["settings"]):
        pairs -= int(captionless)
    return int(settings["epochs"]) * (pairs // int(settings["batch_size"]))


def _draws_captions(settings: dict[str, Any]) -> bool:
    """Whether a training, by its settings as its manifest has them, has the pictures without captions."""
    from mmkd.training.settings.distill import DistillSettings

    known = {name: value for name, value in settings.items() if name in DistillSettings.model_fields}
    return "pretrain" not in settings and DistillSettings.model_validate(known).draws_captions


def _zero_shot(path: Path) -> float | None:
    """The row is looked for in the bytes: parsing all of them would take a hundred times as long."""
    data = path.read_bytes() if path.is_file() else b""
    rare, *others = [f"{json.dumps(key)}: {json.dumps(value)}".encode() for key, value in ZERO_SHOT.items()]
    at = data.find(rare)
    while at >= 0:
        end = data.find(b"\n", at) % (len(data) + 1)  # the end of the file where there is no newline
        line = data[data.rfind(b"\n", 0, at) + 1 : end]
        if all(part in line for part in others):
            return float(json.loads(line)["value"])
        at = data.find(rare, end)
    return None


def _written(published: Sequence[Path]) -> str:
    times = [mark.st_mtime for path in published for mark in _marks(path)]
    return datetime.fromtimestamp(max(times), UTC).isoformat(timespec="seconds") if times else ""
