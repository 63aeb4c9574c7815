"""The layouts that data sets come in: where pictures, labels and splits lie. A reader for each is in `readers`."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from mmkd.cards.samples import Split
from mmkd.images.nifti import SliceKeys
from mmkd.settings import Name, RecipePath, Settings
from mmkd.tables.dialect import TextTable
from mmkd.tables.sections import SectionKeys
from mmkd.tables.values import Captions

SampleField = Literal[
    "id", "image", "caption", "label", "group", "split", "question", "answer", "answer_type", "time", "event", "tiles"
]


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Values = Annotated[list[str], BeforeValidator(_one_or_more)]
"""Values of a column; one alone may stand without brackets."""


class HashedSplit(Settings):
    """Splits that the publisher did not make: groups (or samples) go to val and test by a hash of their name.

    val: share of the groups in the split val. test: share of the groups in the split test.
    """

    val: float = Field(0.0, ge=0.0, lt=1.0)
    test: float = Field(0.2, gt=0.0, lt=1.0)

    @model_validator(mode="after")
    def _some_left(self) -> "HashedSplit":
        if self.val + self.test >= 1:
            raise ValueError(f"val and test take {self.val + self.test:g} of all samples; leave some to train on")
        return self


class FoldersLayout(TextTable):
    """A folder per class with its images at any depth.

    splits: split -> folder below `path`; without it everything is test data, or `hashed` decides. groups: a table (CSV,
    TSV, JSON, JSONL, Parquet or Arrow) with the columns `file` (relative to the folder of that table) and `group` of
    every image. group_pattern: a regular expression with one group, searched in the path below the class folder. skip:
    globs of files that are no samples, matched from the right (`*_mask.png`, `masks/*`).

    path: the folder that holds the class folders.
    """

    reader: Literal["folders"]
    path: RecipePath
    splits: dict[Split, str] = Field(default_factory=dict)
    hashed: HashedSplit | None = None
    groups: RecipePath | None = None
    group_pattern: str = ""
    skip: list[str] = []

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.splits and self.hashed:
            raise ValueError("give either splits or hashed")
        if self.groups and self.group_pattern:
            raise ValueError("give either groups or group_pattern")
        return self


class RowKeys(TextTable, SliceKeys, SectionKeys):
    """What every table with a row per sample may need. An image may be a DICOM file, a NIfTI volume or a folder with
    the slices of one series: its middle slice is taken.

    columns: our field -> the table's column, where the names differ; a value with braces is filled from the row
    (`images/{isic_id}.jpg`; `{slide_id:stem}` leaves out a file's suffix). Without a column `id`, rows are numbered.
    images: folder that the names of files are relative to; without it the folder of the table. root: a folder; files
    that the table names by absolute paths, or outside that folder, are read where they lie below it. captions: of a
    list of captions, take the "first", or make "all" of them samples; with "one" a list is refused. include: column ->
    accepted values, as the table spells them; other rows are excluded. split_values: as the table spells train,
    val and test. hashed: makes splits, whatever the table says. one_hot: the classes' markers are columns of 0 and 1.
    separator: between the labels of a multi-label cell. unlabelled: values of a multi-label cell that name no class
    (`No Finding`). closed: values of `answer_type` that mark closed questions; without that column, those that are
    answered yes or no are closed. event: values of the column `event` that mean that it
    happened. censored: values that mean that the patient was last seen without it. Without either, 0/1, False/True,
    no/yes, Alive/Dead, Living/Deceased and 0:TEXT/1:TEXT are known; 1/2 is not, nor is a flag in a column that is
    called `censorship` or the like.
    """

    columns: dict[SampleField, str] = Field(default_factory=dict)
    images: RecipePath | None = None
    root: RecipePath | None = None
    captions: Captions = "one"
    include: dict[str, list[str]] = Field(default_factory=dict)
    split_values: dict[Split, list[str]] = Field(default_factory=dict)
    hashed: HashedSplit | None = None
    one_hot: bool = False
    separator: str = Field("|", min_length=1)
    unlabelled: list[str] = []
    closed: list[str] = ["CLOSED"]
    event: Values = []
    censored: Values = []

    @model_validator(mode="after")
    def _one_way_to_split(self) -> Self:
        if self.hashed and ("split" in self.columns or self.split_values):
            raise ValueError("give either hashed or the column of the splits")
        return self


class TableLayout(RowKeys):
    """Tables (CSV, TSV, JSON, JSONL, Parquet or Arrow) with a row per sample.

    path: one table, or splits: split -> table. Without any column `image` samples have no picture. Images inside a
    Parquet or Arrow table (`{"bytes": ...}`, as hubs store them, or plain bytes) are read from there; rows with the
    same bytes share one picture.

    path: one table. splits: split -> table.
    """

    reader: Literal["table"]
    path: RecipePath | None = None
    splits: dict[Split, RecipePath] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (not self.splits):
            raise ValueError("give either path (one table) or splits (split -> table)")
        if self.splits and (self.hashed or "split" in self.columns or self.split_values):
            raise ValueError("a table per split and another way to split exclude each other")
        return self


class NpzLayout(Settings):
    """A NumPy archive in MedMNIST's layout: `<split>_images` (N, H, W[, 3]) uint8 and `<split>_labels` (N, 1 or C).

    A class's place in the card is its number (or its column) in the archive.

    path: the archive.
    """

    reader: Literal["npz"]
    path: RecipePath


class H5Layout(Settings):
    """HDF5 files of pictures and labels (PatchCamelyon's layout): split -> file of pictures and file of labels.

    images, labels: names of the arrays, (N, H, W[, 3]) uint8 and any shape of N numbers.

    pictures: split -> file with the pictures. truths: split -> file with the labels.
    """

    reader: Literal["h5"]
    pictures: dict[Split, RecipePath] = Field(min_length=1)
    truths: dict[Split, RecipePath] = Field(min_length=1)
    images: str = "x"
    labels: str = "y"

    @model_validator(mode="after")
    def _same_splits(self) -> Self:
        if self.pictures.keys() != self.truths.keys():
            raise ValueError(f"pictures are of {', '.join(self.pictures)}, but truths of {', '.join(self.truths)}")
        return self


class CorpusLayout(Settings):
    """A split of a corpus folder that `mmkd curate` made: its images and captions, grouped as it groups them.

    path: the corpus folder. split: the one that is evaluated on.
    """

    reader: Literal["corpus"]
    path: RecipePath
    split: Literal["train", "val"] = "val"


class SlidesLayout(RowKeys):
    """Whole slides, one row each in a table as above; several may belong to one patient (`group`).

    The tiles of a slide come from one of: the column `tiles` (a list of images, or of tables with the key `image`);
    `tile_folder`, a folder of images; `slide`, a file that OpenSlide opens and that is cut into tiles as the card's
    `tiles` say. Besides, `bags`: name of an encoder -> HDF5 file with its ready features (`features` (n, D), `coords`
    (n, 2): the layout of CLAM and TRIDENT). Braces in these paths are filled from the row; all of them are relative to
    `images`. The other keys are those of a table.

    path: the table. tile_folder: a slide's folder of tile images. slide: a slide's file. bags: name of an encoder
    -> HDF5 file with ready features.
    """

    reader: Literal["slides"]
    path: RecipePath
    tile_folder: str = ""
    slide: str = ""
    bags: dict[Name, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source_of_tiles(self) -> Self:
        given = [name for name in ("tile_folder", "slide") if getattr(self, name)]
        given += ["columns.tiles"] if "tiles" in self.columns else []
        if len(given) > 1:
            raise ValueError(f"tiles come from one place, found {' and '.join(given)}")
        return self


Layout = FoldersLayout | TableLayout | NpzLayout | H5Layout | CorpusLayout | SlidesLayout
