"""Pairs that a teacher was trained on, from lists: they flatter it, so it is not judged by them. N rows, T teachers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.errors import ConfigError
from mmkd.reliability.rank_test import both_ways
from mmkd.reliability.stack_pairs import variance_of_mean
from mmkd.reliability.trained_lists import read_list
from mmkd.validation import nearest

COLUMNS = ("sha256", "id", "group")  # of the corpus, in which a line of a list is looked for
FEWEST = 20  # pairs on either side of a gap
Z_95 = 1.96


def trained_on(files: Mapping[str, Path], corpus: Corpus, teachers: Sequence[str]) -> np.ndarray:
    """Which rows each teacher was trained on (N, T) bool; all rows of a patient or article of whom it has seen one.

    files: teacher -> list. Raises ConfigError for a name that is no teacher, and a list that names no row.
    """
    for name in files:
        if name not in teachers:
            raise ConfigError(f"reliability.trained_on: no teacher {name!r}; {nearest(name, list(teachers))}")
    found_NT = np.zeros((len(corpus), len(teachers)), dtype=bool)
    columns = {name: np.array(corpus.column(name)) for name in COLUMNS} if files else {}
    unit_N = units_of(corpus) if files else np.zeros(0)
    for name, path in files.items():
        lines = read_list(name, path)
        named_N = np.any([np.isin(value_N, list(lines)) for value_N in columns.values()], axis=0)
        if not named_N.any():
            raise ConfigError(
                f"reliability.trained_on.{name}: none of the {len(lines)} lines of {path} is a sha256, an id or a "
                "group of the corpus; correct the list, or leave it out"
            )
        found_NT[:, list(teachers).index(name)] = np.isin(unit_N, unit_N[named_N])
    return found_NT


def units_of(corpus: Corpus) -> np.ndarray:
    """What is held out together, of each row: its patient or article, or itself where the corpus names none."""
    return np.array([group or f"row {row}" for row, group in enumerate(corpus.column("group"))])


@dataclass(frozen=True)
class Gap:
    """By how much a teacher's own captions stand higher, 0..1, on pairs that it was trained on; 95 % interval."""

    group: str
    teacher: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        verdict = ": it remembers them" if self.low > 0 else ""
        return (
            f"{self.teacher} on {self.group}: percentile of own captions {self.value:+.3f} "
            f"[{self.low:+.3f}, {self.high:+.3f}] on pairs that it was trained on{verdict}"
        )


def gap_of(
    group: str,
    teacher: str,
    sides: tuple[np.ndarray, np.ndarray],
    seen_N: np.ndarray,
    unit_N: np.ndarray,
    rivals: int,
    generator: np.random.Generator,
) -> Gap | None:
    """sides: image and text vectors of N pairs of a group. unit_N: patients, of whom none is on both sides.

    None where there are too few pairs, or patients, on a side.
    """
    if min(seen_N.sum(), (~seen_N).sum()) < FEWEST:
        return None
    percentile_N = both_ways(*sides, rivals, generator)
    parts = [(percentile_N[part], np.unique(unit_N[part], return_inverse=True)[1]) for part in (seen_N, ~seen_N)]
    error = sum(variance_of_mean(*part) for part in parts) ** 0.5
    if not np.isfinite(error):
        return None
    value = float(parts[0][0].mean() - parts[1][0].mean())
    return Gap(group, teacher, value, value - Z_95 * error, value + Z_95 * error)
