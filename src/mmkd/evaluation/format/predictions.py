"""What each model predicted for each sample, as Parquet: the product from which all numbers follow."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from mmkd.cards.samples import Sample
from mmkd.errors import DataError
from mmkd.folders.atomic import atomic_file
from mmkd.statistics.metrics import Array

PREDICTIONS = "predictions"
METADATA = b"mmkd"
FACT = "fact:"  # prefix of the columns with a card's subgroups


@dataclass(frozen=True)
class ClassScores:
    """Of samples with one true class each. classes: in the order of the labels. The highest score is the prediction; of
    equal ones the first."""

    classes: list[str]
    score_NC: Array
    label_N: Array

    def predicted(self) -> Array:
        """The place of the highest score; (N,)."""
        return np.asarray(self.score_NC.argmax(axis=1))

    def confusion(self) -> Array:
        """How often each true class (row) was predicted as each class (column); (C, C)."""
        count_CC = np.zeros((len(self.classes), len(self.classes)), np.int64)
        np.add.at(count_CC, (self.label_N, self.predicted()), 1)
        return count_CC


@dataclass(frozen=True)
class Predicted:
    """The rows of one model: a sample each (or a patient), the same for every model. group: drawn together, or "".

    columns: name -> (N,). facts: subgroup column -> its value in every row. note: what a reader of the results must
    know of these rows, such as who was left out; it joins the card's warning.
    """

    id: list[str]
    group: list[str]
    columns: dict[str, Array]
    facts: dict[str, list[str]] = field(default_factory=dict)
    note: str = ""

    @classmethod
    def of(
        cls, samples: Sequence[Sample], columns: dict[str, Array], group: Sequence[str] | None = None, note: str = ""
    ) -> "Predicted":
        """A row for each sample; group: where it is not the samples' own."""
        names = list(dict.fromkeys(name for sample in samples for name in sample.facts))
        facts = {name: [sample.facts.get(name, "") for sample in samples] for name in names}
        groups = [sample.group for sample in samples] if group is None else list(group)
        return cls([sample.id for sample in samples], groups, columns, facts, note)


@dataclass(frozen=True)
class PredictionFacts:
    """What holds for all rows of a file. warning: of the data set's card. made_from: digest of model, transform, data
    set, protocol and settings: predictions with an equal one need not be made again."""

    model: str
    dataset: str
    modality: str
    task: str
    warning: str = ""
    made_from: str = ""


@dataclass(frozen=True)
class Predictions:
    """One model on one data set; every list and column has N entries."""

    facts: PredictionFacts
    id: list[str]
    group: list[str]
    columns: dict[str, Array]

    def subgroups(self) -> dict[str, Array]:
        """Subgroup column -> its values, text (N,)."""
        return {name.removeprefix(FACT): value for name, value in self.columns.items() if name.startswith(FACT)}


def predictions_path(folder: Path, facts: PredictionFacts) -> Path:
    return folder / PREDICTIONS / facts.task / facts.dataset / f"{facts.model}.parquet"


def write_predictions(folder: Path, facts: PredictionFacts, predicted: Predicted) -> None:
    """Write `predictions/<task>/<card>/<model>.parquet`: id, group, and the task's columns.

    Raises DataError for a number that is not finite: it has no place among scores.
    """
    for name, value_N in predicted.columns.items():
        if value_N.dtype.kind == "f" and not np.isfinite(value_N).all():
            row = int(np.flatnonzero(~np.isfinite(value_N))[0])
            raise DataError(
                f"{facts.dataset}, {facts.task}, {facts.model}: {name} of {predicted.id[row]!r} is {value_N[row]}, "
                "expected a number; check the model's weights and the data"
            )
    facts = replace(facts, warning="; ".join(filter(None, [facts.warning, predicted.note])))
    marked = {f"{FACT}{name}": values for name, values in predicted.facts.items()}
    table = pa.table({"id": predicted.id, "group": predicted.group, **predicted.columns, **marked})
    table = table.replace_schema_metadata({METADATA: json.dumps(asdict(facts)).encode()})
    with atomic_file(predictions_path(folder, facts)) as stream:
        # scores are all different: dictionaries and statistics of them only cost time, thousands of classes a minute
        repeated = [name for name in table.column_names if not pa.types.is_floating(table.schema.field(name).type)]
        parquet.write_table(table, stream, use_dictionary=repeated, write_statistics=repeated)


def are_made_from(path: Path, made_from: str) -> bool:
    """Whether the file is there and holds what these inputs lead to."""
    return path.is_file() and _facts(path).made_from == made_from


def read_predictions(path: Path) -> Predictions:
    """Raises DataError when the file is not one that `write_predictions` wrote."""
    facts = _facts(path)
    table = parquet.read_table(path)
    columns = {name: table.column(name).to_numpy() for name in table.column_names if name not in ("id", "group")}
    return Predictions(facts, table.column("id").to_pylist(), table.column("group").to_pylist(), columns)


def predictions_of(folder: Path, task: str) -> Iterator[dict[str, Predictions]]:
    """For each data set of the task, by name: the predictions of every model on it, by model.

    Raises DataError when the models of a data set did not see the same samples in the same order.
    """
    for data_set in sorted(path for path in (folder / PREDICTIONS / task).glob("*") if path.is_dir()):
        if found := predictions_on(data_set):
            yield found


def predictions_on(data_set: Path) -> dict[str, Predictions]:
    """Of every model, from the folder of a task and data set. Raises as `predictions_of` does."""
    found = [read_predictions(path) for path in sorted(data_set.glob("*.parquet"))]
    _check_aligned(data_set, found)
    return {predictions.facts.model: predictions for predictions in found}


def _facts(path: Path) -> PredictionFacts:
    try:
        return PredictionFacts(**json.loads((parquet.read_schema(path).metadata or {})[METADATA]))
    except (pa.ArrowInvalid, OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not readable as predictions ({error}); evaluate again") from error


def _check_aligned(data_set: Path, found: Sequence[Predictions]) -> None:
    for predictions in found[1:]:
        if predictions.id != found[0].id or predictions.group != found[0].group:
            raise DataError(
                f"{data_set}: {predictions.facts.model} and {found[0].facts.model} saw different samples; "
                "delete this folder and evaluate again"
            )
