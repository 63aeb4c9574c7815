"""One line for each variant, from the rows of its runs: S seeds, M modalities (data sets, in truth, one for each)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.ablate.results import ACCURACY, SECONDS, STAGE1, STUDENT, Row
from mmkd.ablate.settings import DEFAULT, Ablation
from mmkd.ablate.statistics import Array, Interval, crossed_bootstrap, paired_t
from mmkd.randomness import Purpose, generator


@dataclass(frozen=True)
class Summary:
    """A variant's student over its finished seeds; shares in 0..1.

    mean: over modalities and seeds. worst: lowest ratio to the modality's best teacher in any seed. error: mean
    distance to the best teacher of each modality and seed, which is the default's teachers' in every variant. against:
    the variant that `difference` is taken to, over the seeds that both have; t: its interval over seeds, crossed: over
    seeds and modalities. by_modality: mean over seeds. seconds: of stage 2, mean. None where runs are missing.
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


@dataclass(frozen=True)
class Cells:
    """Accuracies of one kind of model: seed -> data set -> value."""

    values: dict[int, dict[str, float]]

    def matrix(self, seeds: Sequence[int], sets: Sequence[str]) -> Array:
        return np.array([[self.values[seed][name] for name in sets] for seed in seeds], dtype=np.float64)


def summarise(ablation: Ablation, rows: Sequence[Row]) -> list[Summary]:
    """A line for each variant with a finished run, in the ablation's order."""
    students = {name: cells_of(rows, name, [STUDENT]) for name in ablation.all_variants}
    limit = limits(rows)
    return [_line(ablation, name, students, limit, rows) for name, cells in students.items() if cells.values]


def cells_of(rows: Sequence[Row], variant: str, models: Sequence[str]) -> Cells:
    """The best of these models in each cell; `students` of one model is that model."""
    values: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.metric == ACCURACY and row.variant == variant and row.model in models:
            at = values.setdefault(row.seed, {})
            at[row.dataset] = max(row.value, at.get(row.dataset, 0.0))
    return Cells(values)


def limits(rows: Sequence[Row]) -> Cells:
    """The best teacher of each seed and data set, chosen on the test data: a limit and no model."""
    names = {row.model for row in rows if row.variant == DEFAULT} - {STUDENT, STAGE1}
    return cells_of(rows, DEFAULT, sorted(names))


def modality_names(rows: Sequence[Row]) -> dict[str, str]:
    """Data set -> modality, in the order of the cards."""
    return {row.dataset: row.modality for row in rows if row.metric == ACCURACY}


def _line(ablation: Ablation, name: str, students: dict[str, Cells], limit: Cells, rows: Sequence[Row]) -> Summary:
    variant, own = ablation.all_variants[name], students[name]
    modality = modality_names(rows)
    seeds = sorted(own.values)
    sets = [one for one in modality if one in own.values[seeds[0]]]
    value_SM = own.matrix(seeds, sets)
    limited = [seed for seed in seeds if seed in limit.values]
    limit_SM = limit.matrix(limited, sets) if limited else None
    at_limit_SM = own.matrix(limited, sets)
    against = "" if name == variant.against else variant.against
    paired = [seed for seed in seeds if seed in students[against].values] if against else []
    gap_SM = own.matrix(paired, sets) - students[against].matrix(paired, sets) if paired else None
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
        by_modality={modality[one]: float(value) for one, value in zip(sets, value_SM.mean(axis=0), strict=True)},
        seconds=float(np.mean(seconds)),
    )
