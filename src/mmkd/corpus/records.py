"""What sources yield: records as they were found, and rejections whose reasons all stand here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable


class Reason(StrEnum):
    """Why a record is not in the corpus; the values stand in `rejected.parquet` and `funnel.json`."""

    MISSING_FIELD = "missing_field"  # no image or no caption at all
    MISSING_FILE = "missing_file"  # the image named is not there
    OUTSIDE_FOLDER = "outside_folder"  # the image named lies outside the source's folder, or is a URL
    OVERSIZED_FILE = "oversized_file"  # an image file or archive member too large to be read
    DAMAGED_FILE = "damaged_file"  # the rest of an archive or table cannot be read
    UNREADABLE_ROW = "unreadable_row"  # not a row of this table: broken JSON, wrong number of fields, unknown label
    NOT_UTF8 = "not_utf8"
    EMPTY_CAPTION = "empty_caption"  # nothing left after cleaning
    SHORT_CAPTION = "short_caption"
    LONG_CAPTION = "long_caption"  # an article, not a caption
    UNREADABLE_IMAGE = "unreadable_image"
    TRUNCATED_IMAGE = "truncated_image"
    DECOMPRESSION_BOMB = "decompression_bomb"  # claims more pixels than max_pixels
    TINY_IMAGE = "tiny_image"
    # from here on: filters and choices that a recipe makes, all off by default
    LICENCE = "licence"
    LANGUAGE = "language"
    NO_CONTENT = "no_content"  # a caption of references alone
    NONCLINICAL = "nonclinical_figure"
    UNSURE_MODALITY = "unsure_modality"
    ASPECT = "aspect"
    BLANK = "blank_image"
    COMPOUND = "compound_figure"
    BURNT_IN_TEXT = "burnt_in_text"  # a DICOM header says so: it may name the patient
    DUPLICATE_ID = "duplicate_id"
    DUPLICATE_PAIR = "duplicate_pair"  # same image bytes and same cleaned caption as an earlier record
    NEAR_DUPLICATE = "near_duplicate"  # a picture like that of an earlier record, see [curate.duplicates]
    CONTAMINATED = "contaminated"  # a picture of an evaluation set, see [curate] decontaminate


class BadRecordError(Exception):
    """This record cannot be used. Caught once per record, where it becomes a `Rejected`; never reaches the user."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Record:
    """A pair as its source spells it: the caption uncleaned (bytes where the source stores bytes), the image undecoded.

    where: the file and the place in it (`pairs.csv:12`; rows are counted from 0), for messages. modality: what the
    source says, "" where it does not; where `labels` alone say it, what they say. labels: the source's own, the most
    specific first. mention: what the article's text says of the figure.
    """

    id: str
    image: bytes
    caption: str | bytes
    modality: str
    group: str
    licence: str
    source: str
    where: str
    labels: tuple[str, ...] = ()
    mention: str = ""


@dataclass(frozen=True)
class Rejected:
    """A record that is not in the corpus, and why. `id` is empty where it was not even known."""

    source: str
    where: str
    id: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class LeftOut:
    """Records that `only` of their source leaves out: neither kept nor rejected but counted, as they may be most."""

    source: str
    records: int = 1


Found = Record | Rejected | LeftOut


class Shard(Protocol):
    """A part of a source that one process reads on its own. Picklable and small."""

    def records(self) -> Iterator[Found]:
        """All that the shard holds in the source's order, one at a time; the same every time."""
        ...


@runtime_checkable
class Stamped(Protocol):
    """A shard that knows its own content; of others the whole source's fingerprint is taken."""

    def fingerprint(self) -> str:
        """Changes when what the shard reads does."""
        ...


class Reader(Protocol):
    """An opened source."""

    def shards(self) -> "list[Shard]":
        """All parts of the source, always the same and in the same order.

        Raises ConfigError when the settings do not fit what is there, DataError when it is missing or unreadable.
        """
        ...

    def fingerprint(self) -> str:
        """Hex digest that changes when the source does."""
        ...


def as_text(value: object) -> str:
    """A field as text, "" for a missing one (None or NaN). Raises BadRecordError when it is not UTF-8 or too nested.

    Text that was decoded with `surrogateescape` counts as not UTF-8 where it holds escaped bytes.
    """
    if value is None or value != value:  # NaN is how tables made by pandas spell a missing field
        return ""
    try:
        if isinstance(value, bytes):
            return value.decode()
        text = str(value)
        text.encode()
    except UnicodeError as error:
        raise BadRecordError(Reason.NOT_UTF8, str(error)) from None
    except RecursionError as error:
        raise BadRecordError(Reason.UNREADABLE_ROW, f"a value nested too deeply: {error}") from None
    return text


def matches(row: Mapping[str, Any], only: Mapping[str, list[str]]) -> bool:
    """Whether every column named in `only` has an accepted value; of a list of values, one accepted is enough."""
    return all(_accepted(row.get(column), values) for column, values in only.items())


def _accepted(value: object, values: list[str]) -> bool:
    try:
        return any(str(v) in values for v in value) if isinstance(value, list) else str(value) in values
    except RecursionError:  # nested too deeply to be written, so not what anybody accepts
        return False
