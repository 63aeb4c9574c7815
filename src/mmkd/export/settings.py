"""The recipe section `[export]`."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from mmkd.settings import RecipePath, Settings

FormatName = Literal["open_clip", "transformers", "onnx"]
ALL: tuple[FormatName, ...] = ("open_clip", "transformers", "onnx")


class ExportSettings(Settings):
    """The recipe section `[export]`: in which formats the student is written, and what its model card says.

    to: `open_clip`, `transformers`, `onnx`. Without it all of them, and what of a student does not fit a format is left
    out and said; with it, what does not fit is an error.

    name: of the model on its card. note: a sentence for the card. pictures: of the corpus, held-out ones first, on
    which the formats must agree. dim: how many of the first dimensions of the student's vectors are kept, for a student
    that was trained with `matryoshka`; without it, all. sign: file with a private key (elliptic curve, PEM) that signs
    the folder.
    """

    name: str = "mmkd-student"
    note: str = ""
    to: list[FormatName] | None = Field(None, min_length=1)
    pictures: NonNegativeInt = 1000
    dim: PositiveInt | None = None
    sign: RecipePath | None = None

    @field_validator("to")
    @classmethod
    def _once(cls, to: list[FormatName] | None) -> list[FormatName] | None:
        if to and len(set(to)) < len(to):
            raise ValueError(f"a format stands there twice: {', '.join(to)}")
        return to
