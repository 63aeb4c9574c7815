"""Stacks of teachers from stored features: which pairs of a group are fitted, and what the table keeps of it.

Letters: N pairs, T teachers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.features.store import TeacherFeatures
from mmkd.progress import say
from mmkd.randomness import Purpose, generator, seed_of
from mmkd.reliability.nest import Nest, nest_of, parts_of
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stack_pairs import stack_pairs
from mmkd.reliability.stack_parts import POOLED
from mmkd.reliability.stacking import Stack, stack_groups
from mmkd.reliability.table import GroupReliability, GroupStack
from mmkd.reliability.trained_on import units_of

NEST_ROWS = 4  # times `stack_rows` of a modality, from which its parts are found
FEWEST = 100  # pairs that no teacher was trained on, for a stack of them alone
PRESENT = 0.5  # of a group's pairs: a teacher with vectors of fewer has no weight there


def fit_stacks(
    features: Sequence[TeacherFeatures],
    groups: Mapping[str, np.ndarray],
    corpus: Corpus,
    settings: ReliabilitySettings,
    seed: int,
    nest: Nest | None = None,
    seen_NT: np.ndarray | None = None,
) -> dict[str, Stack]:
    """The stack of each group. groups: name -> rows of the corpus. nest: has the pairs of groups that are parts.
    seen_NT: rows that teachers were trained on."""
    unit_N = units_of(corpus)
    has_TN = np.array([teacher.valid() for teacher in features])
    of_parts = nest.pairs if nest else {}
    pairs = {}
    for name, group in groups.items():
        if name in of_parts:
            pairs[name] = of_parts[name]
            continue
        group = unseen(name, group, seen_NT)
        rows, present_T = _rows(group, has_TN[:, group], settings.stack_rows, generator(seed, Purpose.STACK_ROWS, name))
        sides = _sides(features, rows, present_T)
        draw = generator(seed, Purpose.STACK_FOLDS, name)
        pairs[name] = stack_pairs(sides, unit_N[rows], settings.folds, draw)
    seeds = {name: seed_of(seed, Purpose.STACK_BOOTSTRAP, name) for name in groups}
    wholes = nest.wholes if nest else {}
    found, chosen = stack_groups(pairs, settings.z_min, settings.correction, settings.bootstrap, seeds, wholes)
    towards = f"held-out pairs draw weights towards the mean of all groups by {chosen.groups:g}"
    say(f"stacks of {len(found)} groups: {towards}")
    if chosen.parts:
        drawn = ", ".join(f"{name} by {strength:g}" for name, strength in chosen.parts.items())
        say(f"  and those of parts towards the ratio of their modality's ({POOLED:g}: all of it): {drawn}")
    return found


def find_nest(
    features: Sequence[TeacherFeatures],
    groups: Mapping[str, np.ndarray],
    corpus: Corpus,
    modality_N: np.ndarray,
    settings: ReliabilitySettings,
    seed: int,
    seen_NT: np.ndarray | None = None,
) -> Nest:
    """The modalities that are divided, and the group of each row of the corpus. seen_NT: see `fit_stacks`.

    groups: modality -> rows on which parts are looked for. modality_N: of each row of the corpus, strings.
    """
    unit_N = units_of(corpus)
    has_TN = np.array([teacher.valid() for teacher in features])
    names, found = [teacher.name for teacher in features], {}
    for name, group in groups.items():
        group, draw = unseen(name, group, seen_NT), generator(seed, Purpose.NEST_ROWS, name)
        rows, present_T = _rows(group, has_TN[:, group], NEST_ROWS * settings.stack_rows, draw)
        if len(rows) < 2:
            continue
        sides, rng = _sides(features, rows, present_T), generator(seed, Purpose.NEST, name)
        parts = parts_of(name, names, sides, unit_N[rows], settings.folds, settings.stack_rows, rng)
        if parts is not None:
            found[name] = parts
    return nest_of(found, features, modality_N)


def unseen(name: str, rows: np.ndarray, seen_NT: np.ndarray | None) -> np.ndarray:
    """The rows of a group that no teacher was trained on; all, with a line, where these are fewer than FEWEST."""
    if seen_NT is None or not (seen_N := seen_NT[rows].any(axis=1)).any():
        return rows
    if (~seen_N).sum() >= FEWEST:
        return np.asarray(rows[~seen_N])
    say(
        f"{name}: no teacher was trained on only {(~seen_N).sum():,} of {len(rows):,} pairs; the stack is fitted on "
        "all, and flatters teachers that have seen more of them"
    )
    return rows


def _rows(
    group: np.ndarray, has_TN: np.ndarray, limit: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the group of which every teacher has both vectors, at most `limit`, and which teachers count (T,).

    A teacher that lacks too many of the group is left out first, so that it does not cost the others their rows.
    """
    present_T = has_TN.mean(axis=1) >= PRESENT
    rows = group[has_TN[present_T].all(axis=0)]
    return (rows if len(rows) <= limit else np.sort(generator.choice(rows, limit, replace=False))), present_T


def _sides(
    features: Sequence[TeacherFeatures], rows: np.ndarray, present_T: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Vectors of each teacher; of one that does not count, all the same."""
    nothing = np.zeros((len(rows), 1))
    counting = zip(features, present_T, strict=True)
    return [teacher.take(rows)[:2] if present else (nothing, nothing) for teacher, present in counting]


def stacked_cells(
    cells: Sequence[GroupReliability], teachers: Sequence[str], stacks: Mapping[str, Stack]
) -> tuple[list[GroupReliability], list[GroupStack]]:
    """The cells of the rank test with the weights of the stacks, and a record of each stack.

    teachers: names, in the order of the stacks' weights.
    """
    place = {name: number for number, name in enumerate(teachers)}
    return [_cell(cell, place[cell.teacher], stacks[cell.group]) for cell in cells], [
        _record(name, stack) for name, stack in stacks.items()
    ]


def _cell(cell: GroupReliability, teacher: int, stack: Stack) -> GroupReliability:
    weight, largest = float(stack.weight_T[teacher]), float(stack.weight_T.max())
    return replace(
        cell,
        weight=weight / largest if largest else 0.0,
        slope=float(stack.slope_T[teacher]),
        slope_low=float(stack.low_P[teacher]),
        slope_high=float(stack.high_P[teacher]),
        z_weight=weight,
    )


def _record(name: str, stack: Stack) -> GroupStack:
    bounds = float(stack.low_P[-1]), float(stack.high_P[-1])
    gains = stack.gain, stack.gain_best
    return GroupStack(name, stack.count, stack.wrong, *bounds, *gains, stack.whole, stack.gain_whole)
