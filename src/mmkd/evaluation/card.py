"""The data-set card: everything the evaluation knows of a data set, as one TOML file."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from mmkd.corpus.taxonomy import MODALITIES, OTHER
from mmkd.settings import RecipePath, Settings

MIXED = "mixed"  # several modalities in one gallery

SampleField = Literal["id", "image", "caption", "label", "group"]
Prompt = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


def _modality(name: str) -> str:
    known = (*MODALITIES, OTHER, MIXED)
    if name not in known:
        raise ValueError(f"is {name!r}, expected one of {', '.join(known)}")
    return name


class FoldersLayout(Settings):
    """A folder per class with its images at any depth.

    groups: a CSV, TSV, JSONL or Parquet table with the columns `file` (relative to the folder of that table) and
    `group` (patient, smear, lesion) of every image; without it images count as independent.
    """

    reader: Literal["folders"]
    path: RecipePath
    groups: RecipePath | None = None


class TableLayout(Settings):
    """A CSV, TSV, JSONL or Parquet table with a row per sample; image paths are relative to the table's folder.

    columns: our field (id, image, caption, label, group) -> the table's column, where the names differ.
    only: column -> accepted values, as the table spells them; other rows do not belong to the data set.
    """

    reader: Literal["table"]
    path: RecipePath
    columns: dict[SampleField, str] = Field(default_factory=dict)
    only: dict[str, list[str]] = Field(default_factory=dict)


class CorpusLayout(Settings):
    """A split of a corpus folder that `mmkd curate` made: its images and captions, grouped as it groups them."""

    reader: Literal["corpus"]
    path: RecipePath
    split: Literal["train", "val"] = "val"


class ClassPrompts(Settings):
    """A class: its name, the folder (or value of the column `label`) that marks it, and the texts that stand for it."""

    name: str = Field(min_length=1)
    folder: str = ""
    prompts: list[Prompt] = Field(min_length=1)

    @property
    def marker(self) -> str:
        return self.folder or self.name


class Card(Settings):
    """A data set. The label of a class is its place in `classes`, and that order stands nowhere else.

    warning: what a reader of the results must know (leaks, shortcuts, noise); it goes into every result row.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    modality: Annotated[str, AfterValidator(_modality)]
    tasks: list[str] = Field(min_length=1)
    licence: str
    layout: Annotated[FoldersLayout | TableLayout | CorpusLayout, Field(discriminator="reader")]
    classes: list[ClassPrompts] = Field(default_factory=list)
    organ: str = ""
    source: str = ""
    citation: str = ""
    warning: str = ""

    @model_validator(mode="after")
    def _distinct(self) -> "Card":
        for what, names in (
            ("tasks", self.tasks),
            ("class names", [entry.name for entry in self.classes]),
            ("class folders", [entry.marker for entry in self.classes]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} must be distinct, found twice: {', '.join(twice)}")
        return self
