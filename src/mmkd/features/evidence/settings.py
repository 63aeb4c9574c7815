"""The recipe section `[evidence]`."""

from pydantic import Field, PositiveInt

from mmkd.settings import Settings


class AlikeSettings(Settings):
    """Pictures that a teacher finds nearly equal. teacher: whose features. cosine: of two pictures, at least."""

    teacher: str
    cosine: float = Field(0.98, ge=-1.0, le=1.0)


class EvidenceSettings(Settings):
    """The recipe section `[evidence]`: what the teachers see of each picture's modality.

    min_captions: a modality needs so many captions that name it, in each half of the corpus, to be looked for.
    min_rows: and has to be seen in so many pictures whose captions tell, or it has no vote. floor: nor have votes that
    are right less often than this (0..1). alike: also name the earlier twin of pictures that are nearly equal.
    """

    min_captions: PositiveInt = 3
    min_rows: PositiveInt = 20
    floor: float = Field(0.5, ge=0.0, le=1.0)
    alike: AlikeSettings | None = None
