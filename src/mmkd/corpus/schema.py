"""The corpus on disk: one row per image-caption pair, in a folder that `datasets.load_from_disk` opens."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mmkd.arrow_folder import open_folder
from mmkd.errors import DataError
from mmkd.stage import digest_of

if TYPE_CHECKING:
    from datasets import Dataset, Features

SPLITS = ("train", "val")
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
)


def corpus_features() -> "Features":
    """The Hugging Face features of a corpus; `image` keeps the encoded bytes, `sha256` and `phash` are of the image."""
    from datasets import Features, Image, Value

    text = {name: Value("string") for name in COLUMNS}
    return Features(
        text | {"image": Image(), "width": Value("int32"), "height": Value("int32"), "phash": Value("uint64")}
    )


class Corpus:
    """Random access to the rows of a corpus folder; memory-mapped, so as many as the disk holds.

    Raises DataError when the folder is not a finished corpus.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digest = digest_of(folder)
        self.table: Dataset = open_folder(folder)
        missing = set(COLUMNS) - set(self.table.column_names)
        if missing:
            raise DataError(f"{folder}: the corpus lacks the columns {sorted(missing)}; curate it again")

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> list[str]:
        """A whole column of the metadata, in row order."""
        values: list[str] = self.table.data.column(name).to_pylist()
        return values

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

    def take(self, rows: Sequence[int] | np.ndarray) -> pa.Table:
        """The given rows, in the given order."""
        table: pa.Table = self.table[np.asarray(rows)]
        return table

    def images(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """The encoded images of the given rows, in the given order."""
        column = self.take(rows).column("image").combine_chunks()
        values: list[bytes] = column.field("bytes").to_pylist()
        return values
