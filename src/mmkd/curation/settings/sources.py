"""`[[curate.sources]]`: the kinds of sources that pairs come from, and what each is asked."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PlainSerializer,
    PositiveInt,
    StringConstraints,
    model_validator,
)

from mmkd.curation.settings.parts import PartOfGroups
from mmkd.folders.remote import Urls, is_url
from mmkd.images.nifti import SliceKeys
from mmkd.settings import RecipePath, Settings, no_url
from mmkd.tables.dialect import TextTable
from mmkd.tables.sections import SectionKeys
from mmkd.tables.values import Captions

Columns = dict[str, str | list[str]]
FIELDS = ("id", "image", "caption", "modality", "group", "licence", "labels", "mention")
NAMED = ("labels", "mention")  # taken only where `columns` names them: a column of that name may hold anything


def _with_place_for_the_name(template: str) -> str:
    if "{name}" not in template:
        raise ValueError(f"template {template!r} has no {{name}}, so its captions would not tell the classes apart")
    return template


def pattern_with_a_group(pattern: str) -> str:
    if not pattern:
        return pattern
    try:
        groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"group {pattern!r} is no regular expression: {error}") from None
    if not groups:
        raise ValueError(f"group {pattern!r} has no parentheses around what names the group, as in '^(PMC[0-9]+)_'")
    return pattern


Templates = Annotated[list[Annotated[str, AfterValidator(_with_place_for_the_name)]], Field(min_length=1)]


class Source(Settings):
    """What every source has: a name (in the corpus column `source`; not given, see `sources/names.py`) and defaults for
    what its records do not say.

    include: column -> accepted values (`{modality = ["CT", "MRI"]}`), compared as the source spells them.
    group: a regular expression, searched in the path of a record's image below the source and in its id where nothing
    else says which article or patient it is of; what its first parentheses take is the group (`'^(PMC[0-9]+)_'`). A
    record that it does not match is its own group, with the records of the same image bytes.

    name: the column `source`; not given, it is made from the path. modality: of records that do not state theirs.
    licence: of records that do not state theirs.
    """

    name: Annotated[str, StringConstraints(pattern=r"^(\w[\w. -]*)?$", max_length=100)] = ""
    modality: str = ""
    licence: str = "unknown"
    include: dict[str, list[str]] = {}
    group: Annotated[str, AfterValidator(pattern_with_a_group)] = ""


def _with_one_place(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError(f"template {template!r} must have one {{}}, where the image column's value stands")
    return template


def _each_once(names: list[str]) -> list[str]:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"header names {', '.join(map(repr, repeated))} more than once")
    return names


def _place(value: object) -> object:
    """URLs are no paths, whose slashes are joined."""
    urls = [value] if is_url(value) else value
    if not isinstance(urls, list):
        return value
    if not urls or not all(map(is_url, urls)):
        raise ValueError("expected a path, a URL, or a list of URLs; of files on disk name the folder or a pattern")
    return Urls(tuple(urls))


def _as_written(place: Path | Urls) -> str | list[str]:
    return place.shown() if isinstance(place, Urls) else str(place)


Place = Annotated[Urls | RecipePath, BeforeValidator(_place), PlainSerializer(_as_written, when_used="json")]
"""A path or URLs, which are written down without what may be secret in them."""


class DicomKeys(Settings):
    """How DICOM files are read, whatever names them.

    frame_step: of the frames of a DICOM file, every so many are read; 0 reads the middle one. burnt_in: what becomes of
    pictures whose header says that they have text burnt in; kept ones have it as a label. key: a file whose bytes key
    the digests by which patients are known; without it, who knows a patient's id can find the rows.
    """

    frame_step: NonNegativeInt = 0
    burnt_in: Literal["drop", "keep"] = "drop"
    key: RecipePath | None = None


class CaptionlessKey(Settings):
    """captionless: records without a caption, or whose report lacks what is asked of it, are "reject"ed, as they are
    where this is not set, or "keep" makes them pictures without a caption: teachers judge what they show, and stage 2
    gives them captions of other pairs.
    """

    captionless: Literal["reject", "keep"] | None = None

    @property
    def keeps_captionless(self) -> bool:
        return self.captionless == "keep"


class RowSource(Source, SectionKeys, SliceKeys, DicomKeys, CaptionlessKey):
    """What tables and data sets with a row per pair have in common. An image may be a DICOM file, a NIfTI volume or a
    folder with the slices of one series: its middle slice is taken, and rows without a group have that of the patient.

    columns: our field -> the table's column, where the names differ; of several, the first that a row fills counts.
    root: a folder; images that the table names by absolute paths, or outside its own folder, are read where they lie
    below it. captions: of a list of captions, take the "first", or make "all" of them pairs of their own; with "one" a
    list is refused. step: of volumes and folders of slices, every so many slices are read; 0 reads the middle one.
    """

    columns: Columns = {}
    root: RecipePath | None = None
    captions: Captions = "one"
    step: NonNegativeInt = 0


class Reports(TextTable, SectionKeys):
    """A table of reports (CSV, TSV, JSON, JSON lines, Parquet or Arrow) that become the captions of the pictures.

    path: the table. key: what table and pictures share: a field of the DICOM header, "file" (the path of the picture's
    file below the source, or of a folder above it), or "name" (the file's name without folders). key_column: the
    table's column with the key; not given, it is called as the key. column: the one with the reports. captions: of
    several different reports with one key, take the "first", or make "all" of them pairs of their own; with "one" the
    pictures are left out and listed.
    """

    path: RecipePath
    key: Literal[
        "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientID", "file", "name"
    ]
    key_column: str = ""
    column: str = "report"
    captions: Captions = "one"


class WithReports(CaptionlessKey):
    """reports: a table of reports that become the captions. root: a folder below which files may lie that links lead
    to."""

    reports: Reports | None = None
    root: RecipePath | None = None

    @property
    def makes_captions(self) -> bool:
        """Whether captions come from templates, not from reports and not from nowhere."""
        return not self.reports and not (self.keeps_captionless and "templates" not in self.model_fields_set)

    @model_validator(mode="after")
    def _one_origin_of_captions(self) -> Self:
        if self.reports and (made := sorted({"templates", "names"} & self.model_fields_set)):
            raise ValueError(f"captions come from reports, so {' and '.join(made)} would have no effect; remove them")
        return self


class TableSource(RowSource, TextTable):
    """CSV, TSV (`.txt` too), JSON, JSONL, Parquet or Arrow with one row per pair: a table, a pattern of them such as
    `parts/*.parquet`, or a folder of JSONL and Parquet.

    images: the image's path for the image column's value, relative to the table's folder (`train/{}.jpg`); no value
    leads out of the folder in front of it. header: the names of the columns where the first line is a row already.

    path: a table, a pattern of tables, or a folder of tables; by path or by URL (https, s3, gs, hf); or a list of URLs.
    """

    kind: Literal["table"]
    path: Place
    images: Annotated[str, AfterValidator(_with_one_place)] = "{}"
    header: Annotated[list[str], AfterValidator(_each_once)] = []


class FoldersSource(Source, CaptionlessKey):
    """A folder per class; the caption is made from the class name: `{name}` in each template, templates in turn. With
    captionless = "keep", a folder of pictures without captions, of which nothing has to be in a folder of a class.

    groups: a table (CSV, TSV, JSON, JSONL, Parquet or Arrow) with the columns `file` or `path` (relative to the folder
    of that table) and `group` of every picture. part: some of several parts that share no group (`{ of = 3, take = [0]
    }`), so that teachers train on disjoint patients; other pictures are excluded. wrong_captions: for experiments,
    share (0..1) of the captions that name a class drawn at random from the source's; they are counted and told.

    path: the folder that holds the class folders. templates: of the captions. names: folder name -> class name in
    words. root: a folder below which images may lie that links lead to. wrong_captions_seed: other numbers draw other
    captions.
    """

    kind: Literal["folders"]
    path: RecipePath
    root: RecipePath | None = None
    templates: Templates = ["{name}"]
    names: dict[str, str] = {}  # folder name -> class name in words; the folder name with blanks otherwise
    groups: RecipePath | None = None
    part: PartOfGroups | None = None
    wrong_captions: float = Field(0.0, ge=0.0, le=1.0)
    wrong_captions_seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _captions_or_none(self) -> Self:
        made = sorted({"templates", "names", "wrong_captions"} & self.model_fields_set)
        if self.keeps_captionless and made:
            raise ValueError(
                f'with captionless = "keep" the pictures of a folder have no captions, so {" and ".join(made)} would '
                "have no effect; remove them, or captionless"
            )
        return self

    @model_validator(mode="after")
    def _one_origin_of_groups(self) -> Self:
        if self.groups and self.group:
            raise ValueError("give either groups (a table) or group (a pattern)")
        if self.part and not (self.groups or self.group):
            raise ValueError(
                "part cuts by groups, and nothing says what they are; give groups (a table), or group (a pattern), "
                "which is '(.*)' where every picture is of another patient"
            )
        return self


class WebDatasetSource(Source, CaptionlessKey):
    """WebDataset tar shards (`path` is a tar or a folder of tars).

    A sample is the files that share a key: one with an image suffix, `txt` or `caption` with the caption (open_clip),
    `json` with the rest (BIOMEDICA: caption, image_primary_label, image_secondary_label, article_accession_id,
    article_license).

    path: a tar or a folder of tars, by path or by URL (https, s3, gs, hf; a pattern, too); or a list of URLs.
    captions: of a list of captions in the JSON, take the "first", or make "all" of
    them pairs of their own; with "one" a list is refused.
    """

    kind: Literal["webdataset"]
    path: Place
    captions: Captions = "one"


class NpzSource(Source):
    """MedMNIST's layout: one `.npz` with `{split}_images` and `{split}_labels`; captions as in a folder per class.

    path: the archive. classes: class names in the order of the labels. splits: those that are read. templates: of
    the captions, `{name}` is the class.
    """

    kind: Literal["npz"]
    path: RecipePath
    classes: list[str]
    splits: list[str] = ["train", "val"]
    templates: Templates = ["{name}"]


class HubSource(RowSource):
    """Anything `datasets.load_dataset` or `load_from_disk` opens: a hub id, a folder of Parquet, a saved data set.

    path: the hub id or the folder. split: the one that is read.
    """

    kind: Literal["datasets"]
    path: Annotated[str, BeforeValidator(no_url)]
    split: str = "train"


class ReferenceSource(Source):
    """The public MMKD-CLIP data folder: `meta.jsonl`, and for each record an image and a BIOMEDICA JSON.

    path: the folder. root: a folder below which files may lie that `meta.jsonl` names by absolute paths.
    """

    kind: Literal["reference"]
    path: RecipePath
    root: RecipePath | None = None


class DicomSource(Source, DicomKeys, WithReports):
    """A folder of DICOM files: every `step`th file of each series, from its middle, in the window of its header.

    Of a file with several frames the middle one is taken, or with `frame_step` every `frame_step`th from its middle.
    Patients are known by a digest of their id.

    templates: the caption is the first of which all fields are known: modality, body_part, view, laterality. With
    captionless = "keep" and no templates, pictures without a report have no caption.

    path: the folder. step: of the files of a series, every so many are read.
    """

    kind: Literal["dicom"]
    path: RecipePath
    step: PositiveInt = 1
    templates: list[str] = Field(
        [
            "{modality} of the {body_part}, {view} view",
            "{modality} of the {body_part}",
            "{modality}, {view} view",
            "{modality} image",
        ],
        min_length=1,
    )


class NiftiSource(Source, SliceKeys, WithReports):
    """A folder of NIfTI volumes (`.nii`, `.nii.gz`) per class, or with reports: every `step`th slice, from the middle.

    templates: captions in turn, `{name}` is the class in words, `{plane}` the axis. With captionless = "keep" and no
    templates, pictures without a report have no caption.

    path: the folder. step: every so many slices are read. names: folder name -> class name in words.
    """

    kind: Literal["nifti"]
    path: RecipePath
    step: PositiveInt = 5
    templates: Templates = ["{name}"]
    names: dict[str, str] = {}  # as in a folder per class

    @model_validator(mode="after")
    def _no_header(self) -> Self:
        if self.reports and self.reports.key not in ("file", "name"):
            raise ValueError(f'NIfTI has no {self.reports.key}; give reports the key "file" or "name"')
        return self


AnySource = Annotated[
    TableSource
    | FoldersSource
    | WebDatasetSource
    | NpzSource
    | HubSource
    | ReferenceSource
    | DicomSource
    | NiftiSource,
    Field(discriminator="kind"),
]
