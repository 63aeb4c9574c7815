"""The recipe section `[evidence]`."""

from pydantic import Field, PositiveInt

from mmkd.settings import Settings


class NearDuplicateSettings(Settings):
    """Near duplicates by a teacher's features. teacher: its name. cosine: of the vectors of two images, at least."""

    teacher: str
    cosine: float = Field(0.98, ge=-1.0, le=1.0)


class EvidenceSettings(Settings):
    """The recipe section `[evidence]`: votes of teachers for the modality of each image.

    min_captions: a modality is a candidate where so many captions name it, in each half of the corpus. min_rows: its
    votes count where it has so many, on images whose captions name a modality. floor: and where at least this share of
    them (0..1) is right. near_duplicates: also name the earlier row of which an image is a near duplicate.
    """

    min_captions: PositiveInt = 3
    min_rows: PositiveInt = 20
    floor: float = Field(0.5, ge=0.0, le=1.0)
    near_duplicates: NearDuplicateSettings | None = None
