"""The data-set card: what is known of a data set, as one TOML file."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, StringConstraints, model_validator

from mmkd.cards.layouts import Layout
from mmkd.cards.samples import Split
from mmkd.images.slide_tiles import Tiles
from mmkd.modalities.taxonomy import MODALITIES, OTHER
from mmkd.settings import Name, Settings

MIXED = "mixed"  # several modalities in one gallery

Prompt = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Access = Literal["open", "registration", "request", "restricted", "unverified"]


def _modality(name: str) -> str:
    known = (*MODALITIES, OTHER, MIXED)
    if name not in known:
        raise ValueError(f"is {name!r}, expected one of {', '.join(known)}")
    return name


class ClassPrompts(Settings):
    """A class: its name, the folder (or value, or one-hot column) that marks it, and the texts that stand for it.

    The texts may be left out on cards without the task zero_shot.

    name: of the class in tables. folder: what marks the class on disk, where that is not its name. prompts: texts
    that stand for it.
    """

    name: str = Field(min_length=1)
    folder: str = ""
    prompts: list[Prompt] = []

    @property
    def marker(self) -> str:
        return self.folder or self.name


class Card(Settings):
    """A data set. The label of a class is its place in `classes`, and that order stands nowhere else.

    multi_label: a sample may have several classes or none. access: what one must do to get the data. source: where they
    are to be had. preparation: what to do to the published files before the layout fits. counts: samples of each split
    as published, samples: of all splits together; `mmkd datasets check` compares. overlaps: ids of cards that share
    pictures, patients or origin; `external:NAME` for sets without a card. seen_by: teachers of the zoo that were or may
    have been trained on it. unverified: keys of this card that no source at hand confirms. warning: what a reader of
    the results must know (leaks, shortcuts, noise); it goes into every result row. subgroups: columns whose values make
    rows of their own.
    answer_templates: for closed questions without training, texts with `{question}` and `{answer}`. covariates: name of
    a predictor -> columns of the table that a Cox model of it reads.

    id: the name in results, paths and commands. modality: one of the nine of the evaluation, `other` or `mixed`.
    tasks: task types that the data set serves. licence: of the data. organ: what the pictures show. citation: of
    the publication. samples: of all splits together.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    modality: Annotated[str, AfterValidator(_modality)]
    tasks: list[str] = Field(min_length=1)
    licence: str
    layout: Annotated[Layout, Field(discriminator="reader")]
    classes: list[ClassPrompts] = Field(default_factory=list)
    multi_label: bool = False
    organ: str = ""
    source: str = ""
    access: Access = "unverified"
    citation: str = ""
    preparation: str = ""
    counts: Mapping[Split, PositiveInt] = Field(default_factory=dict)
    samples: PositiveInt | None = None
    overlaps: list[str] = []
    seen_by: list[str] = []
    unverified: list[str] = []
    warning: str = ""
    subgroups: list[str] = []
    answer_templates: list[Prompt] = []
    covariates: dict[Name, list[str]] = Field(default_factory=dict)
    tiles: Tiles = Tiles()

    @model_validator(mode="after")
    def _distinct(self) -> "Card":
        for what, names in (
            ("tasks", self.tasks),
            ("class names", [entry.name for entry in self.classes]),
            ("class folders", [entry.marker for entry in self.classes]),
        ):
            twice = sorted(name for name, count in Counter(names).items() if count > 1)
            if twice:
                raise ValueError(f"{what} must be distinct, found twice: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _known_keys(self) -> "Card":
        strangers = sorted(set(self.unverified) - set(type(self).model_fields))
        if strangers:
            raise ValueError(f"unverified names keys of this card, found {', '.join(strangers)}")
        return self
