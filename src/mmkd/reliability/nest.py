"""Modalities divided into parts, without labels: which cells of captions a part has, and which part each row is in.

Letters: N rows, D dimension, T teachers, C cells.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.features.store import TeacherFeatures
from mmkd.progress import say
from mmkd.reliability.caption_cells import CaptionCells, find_cells, metric_of
from mmkd.reliability.clusters import joins, nearest
from mmkd.reliability.nest_tree import NestPairs, NestTree, divided, whole_of
from mmkd.reliability.stack_pairs import StackPairs, folds_of
from mmkd.reliability.stack_parts import Whole

CELLS = 16  # of a modality, at most
SMALLEST = 60  # pairs of a cell
BLOCK = 8_192
SHOWN = 3  # captions of a part that are said


@dataclass(frozen=True)
class Parts:
    """The parts of a modality. cells: of its captions. pairs: of each part, to be fitted. whole: its own stack."""

    cells: CaptionCells
    pairs: Mapping[str, StackPairs]
    whole: Whole


@dataclass(frozen=True)
class Nest:
    """The modalities that are divided. group_N: the group of each row of the corpus, strings: a part, or a modality."""

    of_modality: Mapping[str, Parts] = field(default_factory=dict)
    group_N: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=str))

    @property
    def pairs(self) -> dict[str, StackPairs]:
        return {name: pairs for parts in self.of_modality.values() for name, pairs in parts.pairs.items()}

    @property
    def cells(self) -> dict[str, CaptionCells]:
        return {name: parts.cells for name, parts in self.of_modality.items()}

    @property
    def wholes(self) -> dict[str, Whole]:
        return {name: parts.whole for parts in self.of_modality.values() for name in parts.pairs}


def parts_of(
    modality: str,
    names: Sequence[str],
    sides: Sequence[tuple[np.ndarray, np.ndarray]],
    unit_N: np.ndarray,
    folds: int,
    limit: int,
    rng: np.random.Generator,
) -> Parts | None:
    """The parts of a modality, None where it stays whole.

    names, sides: of the teachers; vectors of N pairs. unit_N: equal for pairs of one patient or article. limit: of the
    pairs of a part that are fitted.
    """
    _, unit_N = np.unique(unit_N, return_inverse=True)
    fold_N = folds_of(unit_N, folds, rng)
    if fold_N.max(initial=-1) < 1:  # nothing can be held out
        return None
    pairs = NestPairs(sides, unit_N, fold_N)
    whole = whole_of(modality, pairs.at(np.arange(len(unit_N)), rng), int(fold_N.max()) + 1)
    if not whole.slope_T.any():
        return None
    slopes = dict(zip(names, whole.slope_T.tolist(), strict=True))
    image, text = ({name: side[which] for name, side in zip(names, sides, strict=True)} for which in (0, 1))
    metric = metric_of(slopes, text)
    caption_ND = metric.at(text)
    centre_CD = find_cells(caption_ND, CELLS, SMALLEST, rng)
    cell_N = nearest(caption_ND, centre_CD)
    tests = NestTree(pairs, whole, cell_N, rng)
    parts = divided(joins(_pair_means(caption_ND, metric_of(slopes, image).at(image), cell_N)), tests)
    if len(parts) == 1:
        return None
    parts = sorted(parts, key=lambda cells: (-len(tests.of(cells).place_N), cells))
    part_C = np.empty(len(centre_CD), dtype=object)
    fitted = {}
    for number, cells in enumerate(parts, 1):
        name = f"{modality} / {number}"
        part_C[list(cells)] = name
        place_N = tests.of(cells).place_N
        place_N = place_N if len(place_N) <= limit else np.sort(rng.choice(place_N, limit, replace=False))
        fitted[name] = pairs.at(place_N, rng)
    return Parts(CaptionCells(metric, centre_CD, tuple(part_C.tolist())), fitted, whole)


def _pair_means(caption_ND: np.ndarray, picture_ND: np.ndarray, cell_N: np.ndarray) -> np.ndarray:
    """The mean caption and the mean picture of each cell, side by side (C, 2 D).

    Captions of one organ have pictures of one organ, also where some are wrong.
    """
    both_ND = np.concatenate([caption_ND, picture_ND], axis=1)
    return np.stack([both_ND[cell_N == cell].mean(axis=0) for cell in range(cell_N.max() + 1)])


def nest_of(
    divided_modalities: Mapping[str, Parts], features: Sequence[TeacherFeatures], modality_N: np.ndarray
) -> Nest:
    """The nest of a corpus. modality_N: of each row, strings.

    A pair is in the part of its caption; a picture without one where the stack finds its caption likeliest.
    """
    group_N = modality_N.astype(object)
    asked = {name for parts in divided_modalities.values() for name in parts.cells.metric.slopes}
    for first in range(0, len(modality_N) if divided_modalities else 0, BLOCK):
        stop = min(first + BLOCK, len(modality_N))
        texts = {one.name: one.block("text", first, stop)[0] for one in features if one.name in asked}
        told_N = np.any([text_ND.any(axis=1) for text_ND in texts.values()], axis=0)  # what is missing is 0
        pictures = {}
        if not told_N.all():
            pictures = {one.name: one.block("image", first, stop)[0] for one in features if one.name in asked}
        for name, parts in divided_modalities.items():
            inside_N = modality_N[first:stop] == name
            if (told := inside_N & told_N).any():
                group_N[first:stop][told] = parts.cells.part_of(_rows_of(texts, told))
            if (shown := inside_N & ~told_N).any():
                group_N[first:stop][shown] = parts.cells.part_of_pictures(_rows_of(pictures, shown))
    return Nest(divided_modalities, group_N.astype(str))


def _rows_of(vectors: Mapping[str, np.ndarray], wanted_N: np.ndarray) -> dict[str, np.ndarray]:
    return {teacher: value_ND[wanted_N] for teacher, value_ND in vectors.items()}


def say_parts(nest: Nest, corpus: Corpus, rows: np.ndarray) -> None:
    """Each part with its most frequent captions."""
    caption_N = np.array(corpus.column("caption"), dtype=object)
    for modality, parts in nest.of_modality.items():
        say(f"{modality} is divided into {len(parts.pairs)} parts:")
        for name in parts.pairs:
            inside = rows[nest.group_N[rows] == name]
            often = [caption for caption, _ in Counter(caption_N[inside].tolist()).most_common(SHOWN)]
            say(f"  {name}, {len(inside):,} pairs: {'; '.join(often)}")
