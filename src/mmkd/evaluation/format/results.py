"""The rows of the `.jsonl` files of an evaluation, which the report, the model card and benchmarks read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from mmkd.cards.card import MIXED
from mmkd.errors import DataError
from mmkd.folders.json_lines import read_rows
from mmkd.modalities.taxonomy import MODALITIES, OTHER

RESULTS = "results.jsonl"
COMPARISONS = "comparisons.jsonl"
RANKINGS = "rankings.jsonl"
OVERALL = "overall.jsonl"
ALL = "all"  # the subset of all samples
CLEAN = "clean"  # the subset without samples that lie near training images
IN_GENERAL = "in general"  # all samples, but the interval of a mean speaks for other data sets like these
GAP = "best - worst"  # in place of a subgroup's value: the best value of the column minus the worst
UNCLEARED = "does not clear its null"  # begins the note of a result that a null model reaches too
NOT_COUNTED = "in no mean"  # begins the part of a note that says how many groups there are, and how many are asked for
ALIKE = "all replicates are alike"  # begins the part of a note that says why there is no interval of use
MEAN = "mean"  # as data set and modality: over all data sets of a task, each counting once

STUDENT = "student"
BEST_TEACHER = "best_teacher"  # per data set the teacher that scores highest on it: a limit, chosen on the test data
TEACHERS_CONCAT = "teachers_concat"  # all teachers' unit embeddings side by side
TEACHERS_STACK = "teachers_stack"  # the same, each weighted by its slope in the stack of the card's modality
OF_TEACHERS = (BEST_TEACHER, TEACHERS_CONCAT, TEACHERS_STACK)
"""What is made of several teachers, in the order of the tables."""
STUDENTS = ("stage1", "contrastive", "mmkd", STUDENT)
Null = Literal["chance", "colour_and_size", "random_weights"]
NULLS: tuple[Null, ...] = ("chance", "colour_and_size", "random_weights")
"""Null models: what a task's metrics are worth without any learning, for every model to beat."""


@dataclass(frozen=True)
class Result:
    """One metric of one model on one data set, with its interval; shares in 0..1. n: samples.

    dataset and modality are "mean" for the mean over all data sets of the task; dataset alone is "mean" for the mean
    over those of one modality. low, high: None where no replicate was defined. subset: "all"; "clean" (without what
    lies near training data); "column=value" of a subgroup, where the value `GAP` marks the distance between the
    column's best and worst subgroup; or `IN_GENERAL`: the mean over all data sets with an interval that draws data sets
    too, for the primary metric. is_counted: False where the samples have fewer groups than `evaluate.least_groups` asks
    for, so that no mean, ranking or rank holds them.
    """

    model: str
    dataset: str
    modality: str
    task: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    seed: int
    protocol: str
    note: str = ""
    subset: str = ALL
    is_counted: bool = True


@dataclass(frozen=True)
class Comparison:
    """`model` minus `rival` on the same draws. p: two-sided, of no difference, from the bootstrap.

    Where all replicates are alike and not zero (the note begins with `ALIKE`), low and high are None, and p is p_exact,
    or 1 where there is none.

    p_holm: the same, adjusted over all rivals and data sets of the task; None outside the family (other metrics, means,
    subsets). p_exact: of the test `exact` ("DeLong", "McNemar") where one is defined, None elsewhere. is_counted: as in
    `Result`; the family has the others, too.
    """

    model: str
    rival: str
    dataset: str
    modality: str
    task: str
    metric: str
    difference: float
    low: float | None
    high: float | None
    p: float
    n: int
    p_holm: float | None = None
    exact: str = ""
    p_exact: float | None = None
    subset: str = ALL
    is_counted: bool = True
    note: str = ""


@dataclass(frozen=True)
class Ranking:
    """All models over the data sets of a task, best first, as a critical-difference diagram shows them.

    mean_ranks: 1 is best. statistic, p: Friedman's test. difference: mean ranks this far apart differ (Nemenyi).
    alike: largest groups of models that do not. p_signed_rank: Wilcoxon for each pair, Holm-adjusted; models x models.
    """

    task: str
    metric: str
    models: list[str]
    data_sets: int
    mean_ranks: list[float]
    statistic: float
    p: float
    difference: float
    alike: list[list[str]]
    p_signed_rank: list[list[float]]


@dataclass(frozen=True)
class Overall:
    """One model over all settings, a setting being one task on one data set: as GPFM and other benchmarks report it.

    task: of the settings, `ALL` for those of all tasks. settings, data_sets: how many. models: how many were ranked.
    mean_rank: 1 is best, equal models share a place. firsts: settings in which it is best; k equal ones have 1 / k
    each, so they sum to the settings. The bounds are percentile intervals. draws: what their replicates draw.
    """

    model: str
    task: str
    settings: int
    data_sets: int
    models: int
    mean_rank: float
    mean_rank_low: float
    mean_rank_high: float
    firsts: float
    firsts_low: float
    firsts_high: float
    draws: str


Row = TypeVar("Row", Result, Comparison, Ranking, Overall)


def read_results(folder: Path) -> list[Result]:
    """The rows of an evaluation folder. Raises DataError when the file is missing or a line is no result."""
    return _read(folder / RESULTS, Result)


def read_comparisons(folder: Path) -> list[Comparison]:
    """The rows of an evaluation folder. Raises DataError when the file is missing or a line is no comparison."""
    return _read(folder / COMPARISONS, Comparison)


def read_rankings(folder: Path) -> list[Ranking]:
    """The rows of an evaluation folder. Raises DataError when the file is missing or a line is no ranking."""
    return _read(folder / RANKINGS, Ranking)


def read_overall(folder: Path) -> list[Overall]:
    """The rows of an evaluation folder, best first; none in one that mmkd 0.2 wrote. Raises DataError for others."""
    return _read(folder / OVERALL, Overall) if (folder / OVERALL).is_file() else []


def _read(path: Path, row_class: type[Row]) -> list[Row]:
    if not path.is_file():
        raise DataError(f"{path}: not found; run 'mmkd evaluate' first")
    return read_rows(path, row_class, row_class.__name__.lower(), "run 'mmkd evaluate' again")


def in_order(models: Iterable[str], teachers: Sequence[str]) -> list[str]:
    """Distinct models as tables show them: teachers, what is made of them, other students and models, the student,
    and the null models last."""
    found = dict.fromkeys(models)
    known = [*teachers, *OF_TEACHERS, *STUDENTS]
    others = [model for model in found if model not in (*known, *NULLS)]
    order = [*known[:-1], *others, STUDENT, *NULLS]
    return sorted(found, key=order.index)


def by_modality(results: Iterable[Result], task: str, metric: str) -> dict[str, dict[str, Result]]:
    """model -> modality -> row; the mean where a modality has several data sets, and `MEAN` for all of them. Data sets
    that no mean counts stand for no modality."""
    table: dict[str, dict[str, Result]] = {}
    for row in results:
        if row.is_counted and (row.task, row.metric, row.subset) == (task, metric, ALL):
            found = table.setdefault(row.model, {})
            if row.modality not in found or row.dataset == MEAN:
                found[row.modality] = row
    return table


def several_modalities(rows: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """The modalities of a `by_modality` table in the taxonomy's order; none where one makes up the whole mean."""
    found = {name for by_name in rows.values() for name in by_name}
    ordered = [name for name in (*MODALITIES, OTHER, MIXED) if name in found]
    return ordered if len(ordered) > 1 else []


def focus_model(models: Sequence[str], teachers: Sequence[str] = ()) -> str:
    """The model that comparisons, gallery, heat maps and report are about, and that confirms near copies in the leakage
    audit: the student; without one the first single model that is no teacher; else the first single model.

    models: in the order in which they were asked for. "" where there is no single model.
    """
    single = single_models(models)
    if STUDENT in single:
        return STUDENT
    return next((model for model in single if model not in teachers), single[0] if single else "")


def single_models(models: Iterable[str]) -> list[str]:
    """Without null models and without what is made of several teachers."""
    return [model for model in models if model not in (*NULLS, *OF_TEACHERS)]
