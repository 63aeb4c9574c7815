"""Features on disk: one folder per teacher, the same rows in the same order as the corpus, written shard by shard.

Letters: N rows, D the teacher's dimension, P patches of a picture, E their width. Vectors are float16 with norm 1; a
row that the teacher failed on is null, and so is the text of a picture without a caption. Patches stand row by row of
their grid, one after the other.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.folders.arrow import open_folder
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import digest_of, read_manifest

if TYPE_CHECKING:
    from datasets import Dataset, Features

_, TEXT = SIDES = ("image", "text")
PATCHES = "patches"
REASON = "reason"
NO_CAPTION = "the picture has no caption"  # a reason that is no failure
FACTS = "teacher.json"
TAKEN_AT_ONCE = 4096  # rows, a few megabytes


def feature_columns(dim: int, patches: int = 0) -> "Features":
    """The Hugging Face features of a teacher's folder; `reason` says why a vector is null.

    patches: numbers of a picture's patches, P * E; without them there is no such column.
    """
    from datasets import Features, List, Value

    sides = {side: List(Value("float16"), length=dim) for side in SIDES}
    cells = {PATCHES: List(Value("float16"), length=patches)} if patches else {}
    return Features({"id": Value("string"), **sides, **cells, REASON: Value("string")})


def vectors(values_ND: np.ndarray, valid_N: np.ndarray) -> pa.Array:
    """A float16 column from an (N, D) array; rows that are not valid become null."""
    flat = pa.array(np.ascontiguousarray(values_ND, dtype=np.float16).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values_ND.shape[1], mask=pa.array(~valid_N))


def feature_table(
    ids: pa.ChunkedArray, values: Mapping[str, np.ndarray], reasons: Sequence[str | None] | None = None
) -> pa.Table:
    """A shard's table from (N, D) arrays for `image` and `text`, and (N, P * E) for `patches` where there are any; rows
    that are not finite become null.

    reasons: why, where it is known; a row that is null without one is said to be not finite. That there is no caption
    explains a null text only: an image or patches that are not finite are said in its place.
    """
    columns: dict[str, Any] = {"id": ids}
    found: list[str | None] = list(reasons) if reasons is not None else [None] * len(ids)
    for side, value_ND in values.items():
        finite_N = np.isfinite(value_ND).all(axis=1)
        columns[side] = vectors(np.where(finite_N[:, None], value_ND, 0.0), finite_N)
        for row in np.flatnonzero(~finite_N).tolist():
            if not found[row] or (found[row] == NO_CAPTION and side != TEXT):
                found[row] = f"{side} vector is not finite"  # as a vector of patches is one, of all of them
    return pa.table({**columns, REASON: pa.array(found, pa.string())})


def to_numpy(column: pa.ChunkedArray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `vectors`: (N, D) float16 with zeros where null, and which rows are valid (N,)."""
    array = column.combine_chunks()
    valid_N = array.is_valid().to_numpy(zero_copy_only=False)
    values_ND = np.zeros((len(array), dim), dtype=np.float16)
    values_ND[valid_N] = array.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
    return values_ND, valid_N


@dataclass(frozen=True)
class TeacherFacts:
    """What a feature folder says of its teacher. variant, revision, weights (a digest): "" where there is none.

    Of a folder with patches, and not in the file of others: grid, the side of their grid; patch_width, E; view, which
    part of pictures they are of, see `mmkd.images.transform.seen_part`.
    """

    name: str
    dim: int
    licence: str
    model: str
    variant: str = ""
    revision: str = ""
    weights: str = ""
    grid: int = 0
    patch_width: int = 0
    view: Sequence[float] = ()

    @property
    def patch_numbers(self) -> int:
        """Of a picture, P * E."""
        return self.grid**2 * self.patch_width


def write_facts(folder: Path, facts: TeacherFacts) -> None:
    write_json(folder / FACTS, {k: v for k, v in vars(facts).items() if v or k not in ("grid", "patch_width", "view")})


class TeacherFeatures:
    """One teacher's features of a corpus; memory-mapped.

    Raises DataError when they are of another corpus, of other rows, or not finished.
    """

    def __init__(self, folder: Path, corpus: Corpus) -> None:
        self.folder = folder
        self.digest = digest_of(folder)
        manifest = read_manifest(folder)
        made_from = manifest["inputs"].get("corpus")
        if made_from != corpus.digest:
            raise DataError(
                f"{folder}: features of another corpus (made from {str(made_from)[:12]}, the corpus here is "
                f"{corpus.digest[:12]}); extract them again"
            )
        self.table: Dataset = open_folder(folder)
        for what, rows in (("the corpus", len(corpus)), ("its manifest", manifest["counts"].get("rows", len(corpus)))):
            if self.table.num_rows != rows:
                raise DataError(f"{folder}: {self.table.num_rows} rows, but {what} has {rows}; extract again")
        if not self.table.data.column("id").combine_chunks().equals(corpus.table.data.column("id").combine_chunks()):
            raise DataError(f"{folder}: the row ids differ from those of {corpus.folder}; extract again")
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text())
        self.facts = TeacherFacts(**facts)
        # gathering rows gathers all their columns, and patches are many times the size of the rest
        stored = PATCHES in self.table.column_names
        self._sides: Dataset = self.table.select_columns(list(SIDES)) if stored else self.table
        self._patches: Dataset | None = self.table.select_columns([PATCHES]) if stored and self.facts.grid else None

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def dim(self) -> int:
        return self.facts.dim

    def take(
        self, rows: Sequence[int] | np.ndarray, text_rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image (N, D) and text (N, D) vectors as float16 and which rows have both (N,).

        text_rows: where the texts come from, if not from the images' rows.
        """
        rows = np.asarray(rows)
        text_rows = rows if text_rows is None else text_rows
        if len(rows) <= TAKEN_AT_ONCE:
            return self._take(rows, text_rows)
        # Arrow copies what it gathers, and again to join its chunks: pieces keep that small
        image_ND, text_ND = (np.empty((len(rows), self.dim), np.float16) for _ in SIDES)
        both_N = np.empty(len(rows), bool)
        for first in range(0, len(rows), TAKEN_AT_ONCE):
            part = slice(first, first + TAKEN_AT_ONCE)
            image_ND[part], text_ND[part], both_N[part] = self._take(rows[part], text_rows[part])
        return image_ND, text_ND, both_N

    def _take(self, rows: np.ndarray, text_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        table = self._sides[rows]
        texts = table if np.array_equal(rows, text_rows) else self._sides[text_rows]
        image_ND, has_image_N = to_numpy(table.column("image"), self.dim)
        text_ND, has_text_N = to_numpy(texts.column("text"), self.dim)
        return image_ND, text_ND, has_image_N & has_text_N

    def patches(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of the patches as float16 (N, P, E) and which rows have them (N,).

        Raises DataError for a folder without patches.
        """
        if self._patches is None:
            raise DataError(
                f"{self.folder}: no patches in it; set [extract] patches and run 'mmkd extract' again, or ask for "
                "those of other teachers"
            )
        flat_NX, valid_N = to_numpy(self._patches[rows].column(PATCHES), self.facts.patch_numbers)
        return flat_NX.reshape(len(rows), self.facts.grid**2, self.facts.patch_width), valid_N

    def block(self, side: str, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of one side of the rows first..stop - 1 as float16 (N, D) and which rows have one (N,)."""
        return to_numpy(self.table.data.column(side).slice(first, stop - first), self.dim)

    def valid(self) -> np.ndarray:
        """Which rows of the corpus have both vectors (N,)."""
        return np.asarray(self.has("image") & self.has("text"))

    def has(self, side: str) -> np.ndarray:
        """Which rows of the corpus have a vector of this side (N,)."""
        return np.asarray(pc.is_valid(self.table.data.column(side)).to_numpy())


def open_features(folder: Path, corpus: Corpus, teachers: Sequence[str]) -> list[TeacherFeatures]:
    """The named teachers' features of a corpus. Raises DataError as `TeacherFeatures`."""
    return [TeacherFeatures(folder / name, corpus) for name in teachers]


@dataclass(frozen=True)
class Shard:
    """name: of the file in each teacher's folder. todo: the teachers (places in `dims`) that still lack it."""

    name: str
    rows: np.ndarray
    todo: tuple[int, ...]


Produced = Iterator[tuple[Shard, list[pa.Table]]]


class Producer(Protocol):
    """Where features come from: models that are run, or files that hold them.

    dims, patch_widths: of each of its K teachers; 0 for one without patches. patchless: why those have none, where
    patches were asked for.
    """

    dims: list[int]
    patch_widths: list[int]
    patchless: list[str]

    def produce(self, shards: Sequence[Shard]) -> Produced:
        """The tables (columns as `feature_columns` has them) of each shard's teachers, in the order of its `todo`."""
        ...
