"""Whether stored features are what they should be: of this corpus, row by row, of norm 1, unchanged since written."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.features.store import PATCHES, REASON, SIDES, TeacherFacts, TeacherFeatures, to_numpy
from mmkd.folders.intact import damage
from mmkd.folders.stage import MANIFEST, read_manifest
from mmkd.validation import nearest

NORM_TOLERANCE = 2e-3  # float16 keeps 11 bits: a unit vector's norm is off by less than 2^-11 times a few


@dataclass
class FeatureCheck:
    """What was found in one teacher's folder. null: rows that lack a vector; reasons: why, counted."""

    teacher: str
    rows: int = 0
    dim: int = 0
    null: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def check_features(folder: Path, corpus_folder: Path, names: list[str] | None = None) -> list[FeatureCheck]:
    """One finding per teacher's folder, or per name.

    Raises DataError when there is no corpus, no teacher at all, or not one of the names.
    """
    corpus = Corpus(corpus_folder)
    partial = {path.name.removesuffix(".partial") for path in folder.glob("*.partial")}
    found = {path.parent.name.removesuffix(".partial") for path in folder.glob(f"*/{MANIFEST}")} | partial
    if not found:
        raise DataError(
            f"{folder}: no teacher's features in it; expected folders with {MANIFEST}; run 'mmkd extract' first"
        )
    for name in names or ():
        if name not in found:
            raise DataError(f"{folder}: no features of {name!r}; {nearest(name, sorted(found))}")
    return [_check(folder / name, corpus) for name in names or sorted(found)]


def _check(folder: Path, corpus: Corpus) -> FeatureCheck:
    found = FeatureCheck(folder.name)
    if not (folder / MANIFEST).is_file():
        found.problems.append("not finished: run 'mmkd extract' again, it goes on where it was cut off")
        return found
    try:
        found.problems += damage(folder, read_manifest(folder).get("files", ""), everything=True)
        if found.problems:
            return found
        features = TeacherFeatures(folder, corpus)
    except DataError as error:
        found.problems.append(str(error).removeprefix(f"{folder}: "))
        return found
    found.rows, found.dim = features.table.num_rows, features.dim
    found.problems += _vectors(features)
    found.problems += _patches(features)
    found.problems += _nulls(features, found)
    return found


def _vectors(features: TeacherFeatures) -> Iterator[str]:
    """Columns of another width, and vectors that are not of norm 1."""
    for side in SIDES:
        column: pa.ChunkedArray = features.table.data.column(side)
        if column.type.list_size != features.dim:
            yield f"{side} vectors have {column.type.list_size} numbers, but the teacher {features.dim}"
            continue
        wrong: list[int] = []
        first = 0
        for chunk in column.chunks:
            values_ND, valid_N = to_numpy(pa.chunked_array([chunk]), features.dim)
            norm_N = np.linalg.norm(values_ND.astype(np.float32), axis=1)
            wrong += (first + np.flatnonzero(valid_N & ~(np.abs(norm_N - 1) <= NORM_TOLERANCE))).tolist()
            first += len(chunk)
        if wrong:
            yield f"{len(wrong):,} {side} vectors have another norm than 1, the first in row {wrong[0]}"


def _patches(features: TeacherFeatures) -> Iterator[str]:
    """Another size of the grid than the teacher's facts say, patches of another norm than 1 or 0, rows that lack them.

    Norm 0 is that of a patch where the tower gives nothing.
    """
    facts, columns = features.facts, features.table.data.column_names
    if (PATCHES in columns) != bool(facts.grid):
        yield f"the facts of the teacher have a grid of {facts.grid}, but the columns are {', '.join(columns)}"
    if PATCHES not in columns or not facts.grid:
        return
    column: pa.ChunkedArray = features.table.data.column(PATCHES)
    if column.type.list_size != facts.patch_numbers:
        yield f"patches have {column.type.list_size} numbers; expected {facts.grid}^2 x {facts.patch_width}"
        return
    unsaid = pc.and_(pc.is_null(column), pc.is_null(features.table.data.column(REASON)))
    if lacking := int(pc.sum(unsaid).as_py() or 0):
        yield f"{lacking:,} rows have no patches and do not say why"
    yield from _patch_norms(column, facts)


def _patch_norms(column: pa.ChunkedArray, facts: TeacherFacts) -> Iterator[str]:
    """The first patch that is not of norm 1 or 0."""
    first = 0
    for chunk in column.chunks:
        flat_NX, _ = to_numpy(pa.chunked_array([chunk]), facts.patch_numbers)
        patch_NPE = flat_NX.reshape(len(flat_NX), -1, facts.patch_width).astype(np.float32)
        norm_NP = np.linalg.norm(patch_NPE, axis=2)
        wrong_N = np.flatnonzero(~((np.abs(norm_NP - 1) <= NORM_TOLERANCE) | (norm_NP == 0)).all(axis=1))
        if len(wrong_N):
            yield f"patches have another norm than 1, the first in row {first + wrong_N[0]}"
            return
        first += len(chunk)


def _nulls(features: TeacherFeatures, found: FeatureCheck) -> Iterator[str]:
    """Count what is null and why, and name rows that say nothing about it."""
    data = features.table.data
    null = pc.or_(*(pc.is_null(data.column(side)) for side in SIDES))
    found.null = int(pc.sum(null).as_py() or 0)
    counted = pc.value_counts(data.column(REASON).filter(null).combine_chunks()).to_pylist()
    found.reasons = {str(item["values"]): item["counts"] for item in counted if item["values"] is not None}
    if found.null > sum(found.reasons.values()):
        yield f"{found.null - sum(found.reasons.values()):,} rows are null and do not say why"
    if found.rows and found.null == found.rows:
        yield "every row is null"
