"""What each model predicted for each sample, as Parquet: the product from which all numbers follow."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from mmkd.errors import DataError
from mmkd.evaluation.statistics.metrics import Array
from mmkd.stage import atomic_file

PREDICTIONS = "predictions"
METADATA = b"mmkd"


@dataclass(frozen=True)
class PredictionFacts:
    """What holds for all rows of a file. warning: of the data set's card."""

    model: str
    dataset: str
    modality: str
    task: str
    warning: str = ""


@dataclass(frozen=True)
class Predictions:
    """One model on one data set; every list and column has N entries. group: what is resampled together, or ""."""

    facts: PredictionFacts
    id: list[str]
    group: list[str]
    columns: dict[str, Array]


def predictions_path(folder: Path, facts: PredictionFacts) -> Path:
    return folder / PREDICTIONS / facts.task / facts.dataset / f"{facts.model}.parquet"


def write_predictions(folder: Path, predictions: Predictions) -> None:
    """Write `predictions/<task>/<card>/<model>.parquet`: id, group, and the task's columns."""
    table = pa.table({"id": predictions.id, "group": predictions.group, **predictions.columns})
    table = table.replace_schema_metadata({METADATA: json.dumps(asdict(predictions.facts)).encode()})
    with atomic_file(predictions_path(folder, predictions.facts)) as stream:
        parquet.write_table(table, stream)


def read_predictions(path: Path) -> Predictions:
    """Raises DataError when the file is not one that `write_predictions` wrote."""
    try:
        table = parquet.read_table(path)
        facts = PredictionFacts(**json.loads((table.schema.metadata or {})[METADATA]))
    except (pa.ArrowInvalid, OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not readable as predictions ({error}); evaluate again") from error
    columns = {name: table.column(name).to_numpy() for name in table.column_names if name not in ("id", "group")}
    return Predictions(facts, table.column("id").to_pylist(), table.column("group").to_pylist(), columns)


def predictions_of(folder: Path, task: str) -> Iterator[dict[str, Predictions]]:
    """For each data set of the task, by name: the predictions of every model on it, by model.

    Raises DataError when the models of a data set did not see the same samples in the same order.
    """
    for data_set in sorted(path for path in (folder / PREDICTIONS / task).glob("*") if path.is_dir()):
        found = [read_predictions(path) for path in sorted(data_set.glob("*.parquet"))]
        _check_aligned(data_set, found)
        if found:
            yield {predictions.facts.model: predictions for predictions in found}


def _check_aligned(data_set: Path, found: Sequence[Predictions]) -> None:
    for predictions in found[1:]:
        if predictions.id != found[0].id or predictions.group != found[0].group:
            raise DataError(
                f"{data_set}: {predictions.facts.model} and {found[0].facts.model} saw different samples; "
                "delete this folder and evaluate again"
            )
