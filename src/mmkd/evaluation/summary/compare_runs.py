"""Two models of two evaluations, sample by sample: `mmkd compare`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmkd.errors import ConfigError, DataError
from mmkd.evaluation.format.predictions import PREDICTIONS, Predictions, read_predictions
from mmkd.evaluation.format.results import STUDENT, Comparison, focus_model, single_models
from mmkd.evaluation.summary.comparisons import comparisons, with_exact_tests, with_holm
from mmkd.evaluation.summary.counted import counted, notices
from mmkd.evaluation.summary.means import in_general, means
from mmkd.evaluation.summary.scores import Resampling, Scores, deciding_metric, score
from mmkd.evaluation.summary.subsets import of_rows
from mmkd.evaluation.tasks.table import TASKS
from mmkd.evaluation.tasks.task import Task

EVALUATE = "evaluate"
TRUTHS = ("label", "time", "event", "gallery")  # columns that do not depend on the model


@dataclass(frozen=True)
class Side:
    """One model of one evaluation. files: (task, data set) -> its predictions."""

    name: str
    files: Mapping[tuple[str, str], Path]


@dataclass(frozen=True)
class Line:
    """A comparison with both values. deciding: whether it is of the metric that ranks models on this data set."""

    comparison: Comparison
    first: float
    second: float
    deciding: bool


@dataclass(frozen=True)
class RunComparison:
    """first minus second. only_first, only_second: "task/data set" that the other was not evaluated on.

    notices: lines on data sets with few groups, to be printed.
    """

    first: str
    second: str
    lines: list[Line]
    only_first: list[str]
    only_second: list[str]
    notices: list[str]


def compare(first: str, second: str, resampling: Resampling) -> RunComparison:
    """Paired differences of two models, each named RUN or RUN:MODEL, on every data set and task that both have.

    RUN is a run's folder or an evaluation's; MODEL is the student, or the only model, unless named. Raises ConfigError
    where MODEL is missing and not clear, DataError where nothing is shared or samples do not agree.
    """
    if first == second:
        raise ConfigError(f"{first} is compared with itself; name two models or two runs")
    sides = opened(first), opened(second)
    if sides[0].name == sides[1].name:  # they are called by their models' names, or where these are equal by the runs'
        sides = replace(sides[0], name=first), replace(sides[1], name=second)
    shared = [key for key in sides[0].files if key in sides[1].files]
    if not shared:
        raise DataError(
            f"{first} and {second} have no data set in common: {_words(sides[0])} and {_words(sides[1])}; "
            "evaluate both models on the same cards"
        )
    lines: list[Line] = []
    by_task: dict[str, list[Scores]] = {}
    for name in dict.fromkeys(name for name, _ in shared):
        task = TASKS[name]
        pairs = [_pair(task, sides, key) for key in shared if key[0] == name]
        by_task[task.title] = [score(task, predictions, resampling) for predictions in pairs]
        lines += _lines(task, pairs, by_task[task.title], sides[0].name, resampling)
    only_first, only_second = (["/".join(key) for key in side.files if key not in shared] for side in sides)
    said = notices(by_task, resampling.least_groups)
    return RunComparison(sides[0].name, sides[1].name, lines, only_first, only_second, said)


def opened(text: str) -> Side:
    """The model that RUN or RUN:MODEL means."""
    run, model = (text, "") if Path(text).is_dir() or ":" not in text else text.rsplit(":", 1)
    folder = next((path for path in (Path(run) / EVALUATE, Path(run)) if (path / PREDICTIONS).is_dir()), None)
    if folder is None:
        raise DataError(f"{run}: no {PREDICTIONS}/ in it or in {EVALUATE}/ below it; run 'mmkd evaluate' first")
    paths = [path for task in TASKS for path in sorted((folder / PREDICTIONS / task).glob("*/*.parquet"))]
    chosen = model or _only_model(run, list(dict.fromkeys(path.stem for path in paths)))
    files = {(path.parent.parent.name, path.parent.name): path for path in paths if path.stem == chosen}
    if not files:
        raise ConfigError(f"{run} has no model {chosen!r}; it has {', '.join(sorted({path.stem for path in paths}))}")
    return Side(chosen, files)


def _only_model(run: str, models: Sequence[str]) -> str:
    single = single_models(models)
    if STUDENT not in single and len(single) != 1:
        raise ConfigError(f"{run} has the models {', '.join(single) or 'of no one'}; name one of them: {run}:MODEL")
    return focus_model(single)


def _words(side: Side) -> str:
    return ", ".join("/".join(key) for key in side.files)


def _pair(task: Task[Any], sides: tuple[Side, Side], key: tuple[str, str]) -> dict[str, Predictions]:
    first, second = (read_predictions(side.files[key]) for side in sides)
    second = _aligned(first, second, f"{'/'.join(key)} of {sides[0].name} and {sides[1].name}")
    if task.derived_from:  # one run may have been asked for more than the other: means are over what both have
        first, second = _shared(first, second), _shared(second, first)
    return {
        side.name: replace(found, facts=replace(found.facts, model=side.name))
        for side, found in zip(sides, (first, second), strict=True)
    }


def _shared(one: Predictions, other: Predictions) -> Predictions:
    """With the columns that the other has, too."""
    return replace(one, columns={name: value for name, value in one.columns.items() if name in other.columns})


def _aligned(first: Predictions, second: Predictions, where: str) -> Predictions:
    """The second's rows in the first's order. Raises DataError where samples, groups or truths are not the same."""
    place = {name: row for row, name in enumerate(second.id)}
    here, there = set(first.id) - set(place), set(place) - set(first.id)
    if here or there:
        raise DataError(
            f"{where}: {len(here)} samples only in the first, {len(there)} only in the second, for instance "
            f"{min(here | there)!r}; evaluate both on the same data"
        )
    second = of_rows(second, np.array([place[name] for name in first.id]))
    differing = ["group"] if first.group != second.group else []
    differing += [name for name in TRUTHS if not _same(first.columns.get(name), second.columns.get(name))]
    if differing:
        raise DataError(f"{where}: the same samples differ in {', '.join(differing)}; evaluate both on the same card")
    return second


def _same(first: object, second: object) -> bool:
    return np.array_equal(np.asarray(first), np.asarray(second))


def _lines(
    task: Task[Any],
    pairs: Sequence[dict[str, Predictions]],
    whole: Sequence[Scores],
    model: str,
    resampling: Resampling,
) -> list[Line]:
    """All comparisons of one task, of its data sets first, then of means. whole: the scores of each pair."""
    found: list[tuple[Scores, Comparison]] = []
    for predictions, scores in zip(pairs, whole, strict=True):
        rows = list(comparisons(scores, model, [], resampling.confidence))
        found += [(scores, row) for row in with_exact_tests(rows, scores, predictions, task)]
    inside = counted(whole)
    averaged = list(means(inside, task)) if len(inside) > 1 else []
    for scores in [*averaged, *in_general(inside, task, resampling.seed)]:
        found += [(scores, row) for row in comparisons(scores, model, [], resampling.confidence)]
    deciding = {scores.facts.dataset: deciding_metric(scores, task) for scores in whole}
    adjusted = with_holm([row for _, row in found], deciding)
    return [
        Line(
            comparison=row,
            first=scores.estimates[row.model][row.metric].value,
            second=scores.estimates[row.rival][row.metric].value,
            deciding=row.metric == deciding_metric(scores, task),
        )
        for (scores, _), row in zip(found, adjusted, strict=True)
    ]
