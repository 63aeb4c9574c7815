"""The corpus on disk: one row per image-caption pair, in a folder that `datasets.load_from_disk` opens.

A picture without a caption is a row whose caption is "".
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkd.errors import DataError
from mmkd.folders.arrow import open_folder
from mmkd.folders.digests import hash64
from mmkd.folders.stage import digest_of, read_manifest

if TYPE_CHECKING:
    from datasets import Dataset, Features

SPLITS = ("train", "val")
NEUTRAL: dict[str, str | float] = {
    "modality_stated": "",
    "modality_evidence": "",
    "modality_confidence": 0.0,
    "labels": "",
    "caption_mention": "",
    "language": "",
    "panel": "",
}
"""Columns that older corpora lack, and what they then read as; `caption_group` is worked out from the captions.

modality_stated: what the source says of the modality, as it spells it. modality_evidence: which of source, label,
caption, image gave the modality, joined by "+", with "!" before one that disagrees. modality_confidence: 0..1. labels:
the source's own, "; " between. caption_mention: what the text says of the figure, a second caption. language: ISO
639-1. panel: "a", "b", ... cut out of a compound figure, "whole" for one kept in one piece.
"""
COLUMNS = (
    "id",
    "image",
    "caption",
    "caption_original",
    "modality",
    "source",
    "licence",
    "group",
    "split",
    "width",
    "height",
    "sha256",
    "phash",
    *NEUTRAL,
    "caption_group",
)
LATER = dict.fromkeys(NEUTRAL, pa.string()) | {"modality_confidence": pa.float32(), "caption_group": pa.uint64()}


def caption_group(caption: str) -> int:
    """64-bit number of a caption: equal for captions that differ in case, white space and the final full stop alone."""
    plain = " ".join(caption.casefold().split()).rstrip(" .")
    return hash64(plain)


def split_of(group: str, val: float, seed: int) -> str:
    """`val` for about a share `val` (0..1) of all groups, `train` for the others.

    Decided by a hash of seed and group alone, so a group is never cut, adding records or sources moves no group, and
    a larger `val` only adds groups to it. The share is exact only in expectation: n groups deviate by about
    sqrt(val * (1 - val) / n).
    """
    return "val" if hash64(f"{seed}\0{group}") < val * 2.0**64 else "train"


def corpus_features() -> "Features":
    """The Hugging Face features of a corpus; `image` keeps the encoded bytes, `sha256` and `phash` are of the image."""
    from datasets import Features, Image, Value

    text = {name: Value("string") for name in COLUMNS}
    numbers = {"width": "int32", "height": "int32", "phash": "uint64", "caption_group": "uint64"}
    numbers["modality_confidence"] = "float32"
    return Features(text | {"image": Image()} | {name: Value(kind) for name, kind in numbers.items()})


class Corpus:
    """Random access to the rows of a corpus folder; memory-mapped, so as many as the disk holds.

    Raises DataError when the folder is not a finished corpus.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digest = digest_of(folder)
        self.table: Dataset = open_folder(folder)
        counted = read_manifest(folder)["counts"].get("kept", self.table.num_rows)
        if counted != self.table.num_rows:
            raise DataError(f"{folder}: {self.table.num_rows} rows, but its manifest has {counted}; curate it again")
        missing = set(COLUMNS) - {*self.table.column_names, *NEUTRAL, "caption_group"}
        if missing:
            raise DataError(f"{folder}: the corpus lacks the columns {sorted(missing)}; curate it again")

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> list[str]:
        """A whole column of the metadata, in row order; neutral values where an older corpus lacks it."""
        lacking = name not in self.table.column_names
        values: list[str] = self.table.data.column("caption" if lacking else name).to_pylist()
        return _worked_out(name, values) if lacking else values

    @cached_property
    def modalities(self) -> np.ndarray:
        """The modality of each row, an array of strings."""
        return np.array(self.column("modality"))

    def rows(self, split: str) -> np.ndarray:
        """Row numbers (int64, ascending) of a split. Raises DataError when it is empty."""
        found = np.flatnonzero(np.array(self.column("split")) == split)
        if not len(found):
            raise DataError(f"{self.folder}: no row has split {split!r}; set a larger share in [curate] val")
        return found

    @cached_property
    def captioned(self) -> np.ndarray:
        """Which rows have a caption (N,) bool; a picture without one has the caption ""."""
        return np.asarray(pc.not_equal(self.table.data.column("caption"), "").to_numpy())

    def pairs(self, split: str) -> np.ndarray:
        """Row numbers (int64, ascending) of a split that have a caption. Raises DataError when there are none."""
        rows = self.rows(split)
        found = rows[self.captioned[rows]]
        if not len(found):
            raise DataError(
                f"{self.folder}: none of the {len(rows):,} pictures of the split {split!r} has a caption; add a source "
                "with captions"
            )
        return np.asarray(found)

    def take(self, rows: Sequence[int] | np.ndarray) -> pa.Table:
        """The given rows, in the given order, with all COLUMNS."""
        table: pa.Table = self.table[np.asarray(rows)]
        return completed(table)

    def images(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """The encoded images of the given rows, in the given order."""
        column = self.take(rows).column("image").combine_chunks()
        values: list[bytes] = column.field("bytes").to_pylist()
        return values


def completed(table: pa.Table) -> pa.Table:
    """Rows of a corpus, captions among their columns, with those of COLUMNS appended that an older corpus lacks."""
    for name in [name for name in COLUMNS if name in LATER and name not in table.column_names]:
        values = _worked_out(name, table.column("caption").to_pylist())
        table = table.append_column(name, pa.array(values, LATER[name]))
    return table


def _worked_out(name: str, captions: list[str]) -> list[Any]:
    """The values of a column that an older corpus lacks, a caption a row."""
    return (
        [caption_group(caption) for caption in captions] if name == "caption_group" else [NEUTRAL[name]] * len(captions)
    )
