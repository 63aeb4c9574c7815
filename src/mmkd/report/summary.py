"""Does the main model beat each of the others? In words, in tiles, and as a matrix of modalities and rivals."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from mmkd.evaluation.format.numbers import MISSING, bounds, gain, metric_label, p_text, scale_of, spread
from mmkd.evaluation.format.results import (
    BEST_TEACHER,
    MEAN,
    NULLS,
    OF_TEACHERS,
    UNCLEARED,
    Comparison,
    Result,
    by_modality,
    several_modalities,
)
from mmkd.report.source import Evaluated, left_out_lines, lower_is_better, primary_metric, task_title
from mmkd.report.view import Cell, Row, Table, Tile

Verdict = Literal["ahead", "level", "behind"]
SIGNS: dict[Verdict, str] = {"ahead": "▲", "level": "·", "behind": "▼"}
UNADJUSTED: dict[Verdict, str] = {"ahead": "△", "level": "·", "behind": "▽"}
ALPHA = 0.05


def verdict(row: Comparison) -> Verdict:
    """By the interval of the paired difference: where it holds zero, or is not defined, neither is ahead. Where all
    replicates are alike there is none, and p decides, which is then that of an exact test, or 1."""
    is_open = row.p > ALPHA if row.low is None or row.high is None else row.low <= 0 <= row.high
    if is_open:
        return "level"
    is_lower = row.metric in lower_is_better(row.task)
    return "ahead" if (row.difference > 0) != is_lower else "behind"


def summary(evaluated: Evaluated) -> dict[str, Any]:
    by_task = {task: found for task in evaluated.tasks if (found := standing(evaluated, task))}
    rivals = "each teacher" if evaluated.teachers else "the other models"
    none = f"There is no other model to compare {evaluated.named} with."
    if any(not row.is_counted for row in evaluated.comparisons):
        none = "No data set that was compared has groups enough for a mean, so there is no answer."
    return {
        "question": f"Does {evaluated.named} beat {rivals}?" if by_task else "",
        "answer": in_short(evaluated, list(by_task.values())) if by_task else none,
        "tasks": [in_words(evaluated, task, found) for task, found in by_task.items()],
        "left_out": left_out_lines(evaluated),
        "tiles": [_tile(evaluated, task) for task in evaluated.tasks],
        "matrix": matrix(evaluated),
        "has_best_teacher": any(row.rival == BEST_TEACHER for row in evaluated.comparisons),
        "named": evaluated.named,
    }


def standing(evaluated: Evaluated, task: str) -> list[Comparison]:
    """The main model against each single rival, mean over the data sets of the task."""
    rows = [row for row in primary_comparisons(evaluated, task) if row.modality == MEAN]
    rivals = evaluated.rivals(row.rival for row in rows)
    return [row for row in rows if row.rival in rivals]


def in_short(evaluated: Evaluated, found: Sequence[Sequence[Comparison]]) -> str:
    counts = Counter(verdict(row) for rows in found for row in rows)
    kind = _rivals_name(evaluated)
    clear = sum(all(verdict(row) == "ahead" for row in rows) for rows in found)
    if clear == len(found):
        everywhere = "on the one task" if len(found) == 1 else f"on all {len(found)} tasks"
        return (
            f"Yes: on average over the data sets, {evaluated.named} is ahead of every one of the {kind} {everywhere}."
        )
    total = sum(counts.values())
    short = f"{evaluated.named} is ahead of every one of the {kind} on {clear} of {len(found)} tasks"
    score = f"wins {counts['ahead']}, draws {counts['level']} and loses {counts['behind']}"
    answer = "Not everywhere" if clear else "No"
    return f"{answer}: on average over the data sets, {short}. Of {total} comparisons it {score}."


def in_words(evaluated: Evaluated, task: str, found: Sequence[Comparison]) -> str:
    """One sentence about a task: whom the main model beats on average over the data sets."""
    what = f"{task_title(task)}, {metric_label(found[0].metric)}"
    if len(found) > 1 and all(verdict(row) == "ahead" for row in found):
        return f"{what}: ahead of all {len(found)} {_rivals_name(evaluated)}."
    words: dict[Verdict, str] = {"ahead": "ahead of", "level": "level with", "behind": "behind"}
    named = {name: [row.rival for row in found if verdict(row) == name] for name in words}
    return f"{what}: {'; '.join(f'{words[name]} {_listed(rivals)}' for name, rivals in named.items() if rivals)}."


def primary_comparisons(evaluated: Evaluated, task: str) -> list[Comparison]:
    """The rows of the metric that ranks the models of a task."""
    metric = primary_metric(evaluated.of_task(task), task)
    return [row for row in evaluated.comparisons if (row.task, row.metric, row.model) == (task, metric, evaluated.main)]


def matrix(evaluated: Evaluated) -> Table | None:
    """A row per task and modality, a column per rival: the difference with its interval."""
    rivals = evaluated.order(
        row.rival
        for task in evaluated.tasks
        for row in primary_comparisons(evaluated, task)
        if row.rival in OF_TEACHERS or row.rival in evaluated.rivals([row.rival])
    )
    rows = [row for task in evaluated.tasks for row in _matrix_rows(evaluated, task, rivals)]
    return Table(["", *rivals], rows) if rivals and rows else None


def _matrix_rows(evaluated: Evaluated, task: str, rivals: Sequence[str]) -> Iterator[Row]:
    rows = [row for row in primary_comparisons(evaluated, task) if row.is_counted]
    if not rows:
        return
    metric = rows[0].metric
    table = by_modality(evaluated.of_task(task), task, metric)
    yield Row(f"{task_title(task)}, {metric_label(metric)}{_unit(metric)}", kind="group")
    for modality in [*several_modalities(table), MEAN]:
        found = _of_modality(rows, modality)
        yield Row(
            "all data sets" if modality == MEAN else modality, [_difference(found.get(rival)) for rival in rivals]
        )


def _of_modality(rows: Sequence[Comparison], modality: str) -> dict[str, Comparison]:
    """Rival -> its row; the mean where the modality has several data sets."""
    found: dict[str, Comparison] = {}
    for row in rows:
        if row.modality == modality and (row.rival not in found or row.dataset == MEAN):
            found[row.rival] = row
    return found


def _difference(row: Comparison | None) -> Cell:
    if row is None:
        return Cell(MISSING, title="not compared")
    how, scale = verdict(row), scale_of(row.metric)
    signs = UNADJUSTED if row.p_holm is not None and row.p_holm > ALPHA else SIGNS
    adjusted = "" if row.p_holm is None else f", Holm-adjusted {p_text(row.p_holm)}"
    return Cell(
        f"{signs[how]} {scale.signed(row.difference)}",
        how if how != "level" else "",
        bounds(row),
        f"{how}, {p_text(row.p)}{adjusted}",
    )


def _tile(evaluated: Evaluated, task: str) -> Tile:
    """The main model's mean on a task beside the best single rival."""
    rows = evaluated.of_task(task)
    metric = primary_metric(rows, task)
    means = {row.model: row for row in rows if row.modality == MEAN and row.metric == metric}
    more = [f"{metric_label(metric)}, mean over the data sets"]
    rivals = evaluated.rivals(means) or [name for name in means if name not in (evaluated.main, *NULLS)]
    if rivals:
        best = (min if metric in lower_is_better(task) else max)(rivals, key=lambda name: means[name].value)
        kind = "teacher" if best in evaluated.teachers else "other model"
        more.append(f"best single {kind}: {best}, {spread(means[best])}")
        more += [gain(row) for row in primary_comparisons(evaluated, task) if (row.rival, row.modality) == (best, MEAN)]
    scale, ours = scale_of(metric), means.get(evaluated.main)
    if ours is None:  # a table of covariates, say, that only the card's own predictors can read
        value = scale.value(means[best].value) + scale.unit if rivals else MISSING
        why = (
            f"{evaluated.main} was not evaluated on every data set"
            if _has_counted(rows)
            else "no data set counts in it"
        )
        return Tile(task_title(task), value, [*more, why])
    interval = bounds(ours)
    more += [part for part in ours.note.split("; ") if part.startswith(UNCLEARED)]
    return Tile(task_title(task), scale.value(ours.value) + scale.unit, [interval, *more], ours=True)


def _has_counted(rows: Sequence[Result]) -> bool:
    return any(row.is_counted for row in rows)


def _unit(metric: str) -> str:
    points = scale_of(metric).points
    return f", difference in{points}" if points else ", difference"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _rivals_name(evaluated: Evaluated) -> str:
    return "teachers" if evaluated.teachers else "other models"
