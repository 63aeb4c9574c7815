"""What a data set is made of: samples, and the pictures that belong to them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

from PIL import Image

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.folders.digests import bytes_digest
from mmkd.folders.paths import IMAGE_SUFFIXES
from mmkd.folders.regular import open_regular
from mmkd.images.decode import decode
from mmkd.images.nifti import SliceKeys
from mmkd.images.scans import scan_picture
from mmkd.reasons import BadRecordError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
PICTURE_SUFFIXES = (*IMAGE_SUFFIXES, ".dcm", ".dicom")
BLANK_GREY = 128
BLANK_SIDE = 224


class ImageRef(Protocol):
    """Where a picture lies. Equal references are the same picture, which is then embedded once."""

    def read(self) -> Image.Image:
        """The picture, RGB. Raises DataError that names it when it cannot be read."""

    def digest(self) -> str:
        """SHA-256 of the stored bytes, or of what decides the picture."""


@dataclass(frozen=True)
class FileImage:
    """An image or DICOM file of its own."""

    path: Path

    def read(self) -> Image.Image:
        return decoded(self._bytes(), str(self.path))

    def digest(self) -> str:
        return bytes_digest(self._bytes())

    def _bytes(self) -> bytes:
        try:
            with open_regular(self.path) as stream:
                return stream.read()
        except BadRecordError as bad:
            raise DataError(f"{self.path}: {bad.detail}; take it out of the data set") from bad
        except OSError as error:
            raise DataError(
                f"{self.path}: not to be read ({error.strerror}); put it back, or check its rights"
            ) from error


@dataclass(frozen=True)
class ScanImage:
    """The middle slice of a NIfTI volume or of a folder of slices. modality: the card's; it decides what is padding."""

    path: Path
    keys: SliceKeys
    modality: str

    def read(self) -> Image.Image:
        try:
            return scan_picture(self.path, self.keys, self.modality)
        except BadRecordError as bad:
            raise DataError(f"{self.path}: {bad.detail}; replace it or take it out of the data set") from bad

    def digest(self) -> str:
        return bytes_digest(self.read().tobytes())


@dataclass(frozen=True)
class CorpusImage:
    """An image inside a corpus folder."""

    folder: Path
    row: int

    def read(self) -> Image.Image:
        return decoded(corpus_of(self.folder).images([self.row])[0], f"{self.folder}, row {self.row}")

    def digest(self) -> str:
        return str(corpus_of(self.folder).column("sha256")[self.row])


@dataclass(frozen=True)
class BlankImage:
    """A grey square: what a model answers without a picture."""

    def read(self) -> Image.Image:
        return Image.new("RGB", (BLANK_SIDE, BLANK_SIDE), (BLANK_GREY,) * 3)

    def digest(self) -> str:
        return f"blank {BLANK_SIDE} {BLANK_GREY}"


def decoded(data: bytes, where: str) -> Image.Image:
    """As `images.decode.decode`. Raises DataError that names `where` the bytes came from."""
    try:
        return decode(data)
    except BadRecordError as bad:
        raise DataError(
            f"{where}: not readable as an image ({bad.detail}); replace the file or take it out of the data set"
        ) from bad


@lru_cache(maxsize=4)
def corpus_of(folder: Path) -> Corpus:
    """A corpus folder, opened once."""
    return Corpus(folder)


@dataclass(frozen=True)
class Question:
    """closed: to be answered by one of a few words (yes, no, left ...), not freely."""

    text: str
    answer: str
    closed: bool


@dataclass(frozen=True)
class Survival:
    """time: in the unit of the card. event: whether it happened then; else the patient was last seen at that time."""

    time: float
    event: bool


@dataclass(frozen=True)
class Sample:
    """One picture (or the tiles of one slide, or none) and what is true of it.

    labels: the places of its classes in the card, one unless the card is multi-label. group: what must not be cut or
    counted as independent (patient, lesion, smear), "" where none is declared. covariates: numbers of a table, NaN
    where a cell is empty. facts: the card's subgroup columns. bags: files with ready tile features, by the name of
    their encoder.
    """

    id: str
    images: tuple[ImageRef, ...] = ()
    split: Split = "test"
    labels: tuple[int, ...] = ()
    group: str = ""
    caption: str | None = None
    question: Question | None = None
    survival: Survival | None = None
    covariates: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    bags: Mapping[str, Path] = field(default_factory=dict)

    @property
    def label(self) -> int:
        """Its only class. Raises DataError where it has none or several."""
        if len(self.labels) != 1:
            raise DataError(f"sample {self.id!r} has {len(self.labels)} classes, expected one")
        return self.labels[0]

    @property
    def image(self) -> ImageRef:
        """Its only picture. Raises DataError where it has none or several."""
        if len(self.images) != 1:
            raise DataError(f"sample {self.id!r} has {len(self.images)} pictures, expected one")
        return self.images[0]


def only_pictures(samples: Iterable[Sample]) -> list[ImageRef]:
    """The picture of each sample. Raises DataError for one with none or several."""
    return [sample.image for sample in samples]
