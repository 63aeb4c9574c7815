"""One line for each variant, from the rows of its runs: S seeds, M modalities (data sets, one for each), B replicates.

Both intervals treat what was run as a sample, and answer different questions. `paired_t` asks what other seeds (worlds,
teachers, students) would show on these modalities; with three seeds it has two degrees of freedom and is wide.
`crossed_bootstrap` also draws modalities; with few seeds it is too narrow, as every bootstrap of three is. Neither
holds the error of the test sets of a cell.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mmkd.ablate.settings import DEFAULT, Ablation
from mmkd.folders.json_lines import read_rows
from mmkd.randomness import Purpose, generator

Array = NDArray[np.float64]
CONFIDENCE = 0.95
REPLICATES = 10_000
RESULTS = "results.jsonl"


class Interval(NamedTuple):
    low: float
    high: float


def paired_t(difference_SM: Array) -> Interval | None:
    """Student's t interval of the mean over seeds of each seed's mean over modalities; None for a single seed."""
    mean_S = difference_SM.mean(axis=1)
    count = len(mean_S)
    if count < 2:
        return None
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1) * mean_S.std(ddof=1) / math.sqrt(count))
    return Interval(float(mean_S.mean()) - half, float(mean_S.mean()) + half)


def crossed_bootstrap(difference_SM: Array, generator: np.random.Generator, replicates: int = REPLICATES) -> Interval:
    """Percentile interval of the mean when seeds and modalities are both drawn with replacement (Owen 2007).

    The same modalities are drawn for all seeds of a replicate, because they are the same modalities.
    """
    seeds, modalities = difference_SM.shape
    weight_BS = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=replicates) / seeds
    weight_BM = generator.multinomial(modalities, np.full(modalities, 1 / modalities), size=replicates) / modalities
    mean_B = np.einsum("bs,sm,bm->b", weight_BS, difference_SM, weight_BM)
    low, high = np.quantile(mean_B, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return Interval(float(low), float(high))


ACCURACY, SECONDS = "accuracy", "seconds"
STUDENT, STAGE1 = "student", "stage1"
Cells = dict[int, dict[str, float]]
"""Accuracies of one kind of model: seed -> data set -> value."""


@dataclass(frozen=True)
class Row:
    """One number of one run. model: `student`, `stage1` or a teacher. n: samples, or steps for `seconds` of stage 2.

    is_counted: False where the data set has fewer groups than `evaluate.least_groups` asks for; no table is made of it.
    """

    variant: str
    seed: int
    model: str
    metric: str
    dataset: str
    modality: str
    value: float
    n: int
    is_counted: bool = True


def read_results(path: Path) -> list[Row]:
    """Raises DataError for a line that is no row."""
    return read_rows(path, Row, "row of an ablation", "delete the file")


def run_folder(out: Path, variant: str, seed: int) -> Path:
    return out / variant / f"seed-{seed}"


@dataclass(frozen=True)
class Summary:
    """A variant's student over its finished seeds; shares in 0..1.

    mean: over modalities and seeds. worst: lowest ratio to the modality's best teacher in any seed. error: mean
    distance to the best teacher of each modality and seed, which is the default's teachers' in every variant. against:
    the variant that `difference` is taken to, over the seeds that both have; t: its interval over seeds, crossed: over
    seeds and modalities. by_modality: mean over its data sets and seeds. seconds: of stage 2, mean. None where runs are
    missing.
    """

    variant: str
    about: str
    line: str
    x: float | None
    seeds: int
    mean: float
    worst: float | None
    error: float | None
    against: str
    difference: float | None
    t: Interval | None
    crossed: Interval | None
    by_modality: dict[str, float]
    seconds: float


def summarise(ablation: Ablation, rows: Sequence[Row]) -> list[Summary]:
    """A line for each variant with a finished run, in the ablation's order."""
    rows = counted(rows)
    students = {name: cells_of(rows, name, [STUDENT]) for name in ablation.all_variants}
    limit = limits(rows)
    return [_line(ablation, name, students, limit, rows) for name, cells in students.items() if cells]


def cells_of(rows: Sequence[Row], variant: str, models: Sequence[str]) -> Cells:
    """The best of these models in each cell; `students` of one model is that model."""
    values: Cells = {}
    for row in rows:
        if row.metric == ACCURACY and row.variant == variant and row.model in models:
            at = values.setdefault(row.seed, {})
            at[row.dataset] = max(row.value, at.get(row.dataset, 0.0))
    return values


def limits(rows: Sequence[Row]) -> Cells:
    """The best teacher of each seed and data set, chosen on the test data: a limit and no model."""
    names = {row.model for row in rows if row.variant == DEFAULT} - {STUDENT, STAGE1}
    return cells_of(rows, DEFAULT, sorted(names))


def modality_names(rows: Sequence[Row]) -> dict[str, str]:
    """Data set -> modality, in the order of the cards."""
    return {row.dataset: row.modality for row in rows if row.metric == ACCURACY}


def left_out(rows: Sequence[Row]) -> list[str]:
    """Data sets that no mean counts: those that any run leaves out, as others may be of a time before the limit."""
    return list(dict.fromkeys(row.dataset for row in rows if not row.is_counted))


def counted(rows: Sequence[Row]) -> list[Row]:
    """Without those of data sets that no mean counts."""
    names = left_out(rows)
    return [row for row in rows if row.dataset not in names]


def _matrix(cells: Cells, seeds: Sequence[int], sets: Sequence[str]) -> Array:
    return np.array([[cells[seed][name] for name in sets] for seed in seeds], dtype=np.float64)


def _line(ablation: Ablation, name: str, students: dict[str, Cells], limit: Cells, rows: Sequence[Row]) -> Summary:
    variant, own = ablation.all_variants[name], students[name]
    modality = modality_names(rows)
    seeds = sorted(own)
    sets = [one for one in modality if one in own[seeds[0]]]
    value_SM = _matrix(own, seeds, sets)
    limited = [seed for seed in seeds if seed in limit]
    limit_SM = _matrix(limit, limited, sets) if limited else None
    at_limit_SM = _matrix(own, limited, sets)
    against = "" if name == variant.against else variant.against
    paired = [seed for seed in seeds if seed in students[against]] if against else []
    gap_SM = _matrix(own, paired, sets) - _matrix(students[against], paired, sets) if paired else None
    seconds = [row.value for row in rows if row.variant == name and row.metric == SECONDS]
    return Summary(
        variant=name,
        about=variant.about,
        line=variant.line,
        x=variant.x,
        seeds=len(seeds),
        mean=float(value_SM.mean()),
        worst=None if limit_SM is None else float((at_limit_SM / np.maximum(limit_SM, np.finfo(float).tiny)).min()),
        error=None if limit_SM is None else float((limit_SM - at_limit_SM).mean()),
        against=against,
        difference=None if gap_SM is None else float(gap_SM.mean()),
        t=None if gap_SM is None else paired_t(gap_SM),
        crossed=None if gap_SM is None else crossed_bootstrap(gap_SM, generator(0, Purpose.ABLATION)),
        by_modality={
            name: float(value_SM[:, [modality[one] == name for one in sets]].mean())
            for name in dict.fromkeys(modality[one] for one in sets)
        },
        seconds=float(np.mean(seconds)),
    )
