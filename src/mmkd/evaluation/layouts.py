"""The layouts that data sets come in: where pictures, labels and splits lie. A reader for each is in `readers`."""

from typing import Literal

from pydantic import Field, model_validator

from mmkd.evaluation.samples import Split
from mmkd.settings import RecipePath, Settings

SampleField = Literal[
    "id", "image", "caption", "label", "group", "split", "question", "answer", "answer_type", "time", "event", "tiles"
]


class HashedSplit(Settings):
    """Splits that the publisher did not make: groups (or samples) go to val and test by a hash of their name."""

    val: float = Field(0.0, ge=0.0, lt=1.0)
    test: float = Field(0.2, gt=0.0, lt=1.0)

    @model_validator(mode="after")
    def _some_left(self) -> "HashedSplit":
        if self.val + self.test >= 1:
            raise ValueError(f"val and test take {self.val + self.test:g} of all samples; leave some to train on")
        return self


class FoldersLayout(Settings):
    """A folder per class with its images at any depth.

    splits: split -> folder below `path`; without it everything is test data. groups: a table (CSV, TSV, JSONL or
    Parquet) with the columns `file` (relative to the folder of that table) and `group` of every image. group_pattern: a
    regular expression with one group, searched in the path below the class folder. skip: globs of files that are no
    samples.
    """

    reader: Literal["folders"]
    path: RecipePath
    splits: dict[Split, str] = Field(default_factory=dict)
    hashed: HashedSplit | None = None
    groups: RecipePath | None = None
    group_pattern: str = ""
    skip: list[str] = []


class TableLayout(Settings):
    """Tables (CSV, TSV, JSON, JSONL or Parquet) with a row per sample.

    path: one table, or splits: split -> table. columns: our field -> the table's column, where the names differ; a
    value with braces is filled from the row (`images/{isic_id}.jpg`). images: folder that image names are relative to;
    without it the folder of the table. Without any column `image` samples have no picture. only: column -> accepted
    values, as the table spells them; other rows do not belong to the data set. split_values: as the table spells train,
    val and test. closed: values of `answer_type` that mark closed questions. one_hot: the classes' markers are columns
    of 0 and 1. separator: between the labels of a multi-label cell. censored: value of the column `event` that means
    that it did not happen. Images inside a Parquet table ({"bytes": ...}, as hubs store them) are read from there.
    """

    reader: Literal["table"]
    path: RecipePath | None = None
    splits: dict[Split, RecipePath] = Field(default_factory=dict)
    hashed: HashedSplit | None = None
    columns: dict[SampleField, str] = Field(default_factory=dict)
    images: RecipePath | None = None
    only: dict[str, list[str]] = Field(default_factory=dict)
    split_values: dict[Split, list[str]] = Field(default_factory=dict)
    closed: list[str] = ["CLOSED"]
    one_hot: bool = False
    separator: str = "|"
    censored: str = "0"

    @model_validator(mode="after")
    def _one_source(self) -> "TableLayout":
        if (self.path is None) == (not self.splits):
            raise ValueError("give either path (one table) or splits (split -> table)")
        return self


class NpzLayout(Settings):
    """A NumPy archive in MedMNIST's layout: `<split>_images` (N, H, W[, 3]) uint8 and `<split>_labels` (N, 1 or C).

    A class's place in the card is its number (or its column) in the archive.
    """

    reader: Literal["npz"]
    path: RecipePath


class H5Layout(Settings):
    """HDF5 files of pictures and labels (PatchCamelyon's layout): split -> file of pictures and file of labels.

    images, labels: names of the arrays, (N, H, W, 3) uint8 and any shape of N numbers.
    """

    reader: Literal["h5"]
    pictures: dict[Split, RecipePath] = Field(min_length=1)
    truths: dict[Split, RecipePath] = Field(min_length=1)
    images: str = "x"
    labels: str = "y"


class CorpusLayout(Settings):
    """A split of a corpus folder that `mmkd curate` made: its images and captions, grouped as it groups them."""

    reader: Literal["corpus"]
    path: RecipePath
    split: Literal["train", "val"] = "val"


class SlidesLayout(Settings):
    """Whole slides, one row each in a table (CSV, TSV, JSON, JSONL or Parquet); several may belong to one patient
    (`group`).

    What is seen of a slide is one of: the column `tiles` (a list of images, or of tables with the key `image`);
    `tile_folder`, a folder of images; `slide`, a file that OpenSlide opens and that is cut into tiles as the card's
    `tiles` say. Besides, `bags`: name of an encoder -> HDF5 file with its ready features (`features` (n, D), `coords`
    (n, 2): the layout of CLAM and TRIDENT). Braces in these paths are filled from the row. The other keys are those of
    a table.
    """

    reader: Literal["slides"]
    path: RecipePath
    columns: dict[SampleField, str] = Field(default_factory=dict)
    only: dict[str, list[str]] = Field(default_factory=dict)
    split_values: dict[Split, list[str]] = Field(default_factory=dict)
    images: RecipePath | None = None
    tile_folder: str = ""
    slide: str = ""
    bags: dict[str, str] = Field(default_factory=dict)
    censored: str = "0"


Layout = FoldersLayout | TableLayout | NpzLayout | H5Layout | CorpusLayout | SlidesLayout
