"""The recipe sections below `[curate]` that say which pairs are wanted. All defaults leave a corpus as it is."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator

from mmkd.curation.captions.language import known_languages
from mmkd.licences import CLASSES, UNKNOWN
from mmkd.settings import Settings

MUCH_PAPER = 0.6  # share of all pixels; scans in rows with white between them reach 0.5
Panels = Literal["keep", "split", "split_or_drop", "drop"]


class ModalitySettings(Settings):
    """by: take the modality that the "source" states (or its labels, where it states none), or that which all
    "evidence" together makes most probable. names: the nine of the "evaluation" and other, or the "fine" ones of the
    taxonomy. min_confidence: pairs whose modality is less certain than this (0..1) are rejected.
    """

    by: Literal["source", "evidence"] = "source"
    names: Literal["evaluation", "fine"] = "evaluation"
    min_confidence: float = Field(0.0, ge=0.0, le=1.0)


class CaptionSettings(Settings):
    """references: "strip" takes "Figure 1:", "(A)" and "(Fig. 2b)" out of captions. language: "tag" writes what it is
    into the column `language`; which languages are rejected is a filter. mention: keep the text of the article that
    refers to the figure as a second caption.
    """

    references: Literal["keep", "strip"] = "keep"
    language: Literal["keep", "tag"] = "keep"
    mention: bool = True


class FilterSettings(Settings):
    """Thresholds of the filters in `filters/decide.py`; the defaults let everything pass.

    licences: accepted classes of licence (permissive, share-alike, non-commercial, no derivatives, unknown).
    languages: accepted languages, ISO 639-1; captions of unknown language are kept. min_words, max_words: of a
    caption. content: reject captions that are only references ("Figure 2.", "See text for details"). nonclinical: what
    may say that a figure shows no patient and no tissue: its labels, its caption, its image. max_aspect: longest side
    by shortest. min_contrast: standard deviation of the grey levels (0..255); blank images have less than about 2.
    max_paper: share of white (0..1) from which the image says that it is drawn; 0.05 less is enough for one with ruled
    lines or few shades.
    """

    licences: list[str] = []
    languages: list[str] = []
    min_words: NonNegativeInt = 0
    max_words: PositiveInt | None = None
    content: bool = False
    nonclinical: list[Literal["labels", "caption", "image"]] = []
    max_aspect: float | None = Field(None, ge=1.0)
    min_contrast: NonNegativeFloat = 0.0
    max_paper: float = Field(MUCH_PAPER, ge=0.0, le=1.0)

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, languages: list[str]) -> list[str]:
        """A name that no caption is found to have would reject them all."""
        if unknown := sorted(set(languages) - set(known := known_languages())):
            raise ValueError(f"unknown languages {unknown}; those that can be detected are {', '.join(known)}")
        return languages

    @field_validator("licences")
    @classmethod
    def _known_classes(cls, licences: list[str]) -> list[str]:
        if unknown := sorted(set(licences) - {*CLASSES, UNKNOWN}):
            raise ValueError(f"unknown licence classes {unknown}; they are {', '.join((*CLASSES, UNKNOWN))}")
        return licences
