"""What a source yields: pictures that are read when they are needed, and how sources are read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from PIL import Image
from pydantic import AfterValidator, NonNegativeInt

from mmkd.curation.records.record import Rejected
from mmkd.curation.settings.sources import DicomKeys, pattern_with_a_group
from mmkd.images.nifti import SliceKeys
from mmkd.modalities.taxonomy import BY_NAME, fine_modality
from mmkd.settings import RecipePath
from mmkd.tables.dialect import TextTable


@dataclass(frozen=True)
class Picture:
    """One picture. read: decodes it, upright and in RGB; raises BadRecordError; may be called in a thread.

    id: unique in its source, the same at every reading. path: of its file below the source; of a row or of a member
    of an archive also the place in it. caption, modality, group (patient), series: "" where unknown. slice: its number
    in the series, of DICOM from 1, of NIfTI from 0. stamp: differs where the picture was changed. noted: what is
    counted of its file besides, as `curation.sources.dicom_series.noted_of` has it.

    A modality that mmkd knows gets mmkd's name for it (CR is x-ray), so that one condition finds pictures of all
    sources; any other stays as it is.
    """

    id: str
    path: str
    read: Callable[[], Image.Image]
    caption: str = ""
    modality: str = ""
    group: str = ""
    series: str = ""
    slice: int | None = None
    stamp: str = ""
    noted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (known := fine_modality(self.modality)) in BY_NAME:
            object.__setattr__(self, "modality", known)


Found = Picture | Rejected


class SourceOptions(SliceKeys, DicomKeys, TextTable):
    """How a source is read, where it leaves something open.

    image, caption: columns of a table; not given, they are guessed as `mmkd init` does. root: a folder below which
    pictures may lie that a table names by absolute paths, or that links lead to. group: a regular expression whose
    first parentheses take the patient out of the path of a picture. modality: of pictures that do not state theirs.
    step: of the slices of a volume or series, and of the frames of a file, every so many are taken, 0 takes the middle
    one; not given, all, and of a volume that a row of a table names the middle one.
    """

    image: str = ""
    caption: str = ""
    root: RecipePath | None = None
    group: Annotated[str, AfterValidator(pattern_with_a_group)] = ""
    modality: str = ""
    step: NonNegativeInt | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of a picture before its file is opened; the fields are those of `Picture`."""

    id: str
    path: str
    caption: str = ""
    modality: str = ""
    group: str = ""
