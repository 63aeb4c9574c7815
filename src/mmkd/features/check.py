"""Whether stored features are what they should be: of this corpus, row by row, of norm 1, unchanged since written."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.features.store import REASON, SIDES, TeacherFeatures, to_numpy
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
