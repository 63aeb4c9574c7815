"""The pairs of image and text of a record, cleaned, before anything is decided about them.

The text comes first, then the picture and with it the pairs; what costs time is worked out when it is asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, Protocol, TypeVar

from mmkd.corpus.schema import caption_group
from mmkd.curation.captions.clean import clean_caption
from mmkd.curation.captions.language import language_of
from mmkd.curation.captions.references import strip_references
from mmkd.curation.facts.dropped import with_caption_dropped
from mmkd.curation.facts.image import ImageFacts
from mmkd.curation.modality.votes import NAMED, Estimate, Vote, caption_vote, estimated
from mmkd.curation.panels.split import WHOLE, Panel, panels_of, sub_captions
from mmkd.curation.records.record import Record
from mmkd.curation.settings.curate import CurateSettings
from mmkd.images.box import Box
from mmkd.images.store import Picture, open_picture, store
from mmkd.modalities.taxonomy import evaluated_modality
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import as_name, as_text

MAX_CAPTION = 10_000  # characters; longer ones are articles, and the cleaning rules are not made for them
TEXT = ("id", "source", "licence", "group", "where", "caption_original")

F = TypeVar("F")


@dataclass(frozen=True)
class FigureText:
    """The text of a whole record: a figure of one or several panels.

    columns: the columns TEXT, as the source has them. marked: the clean caption with the marks of its panels. caption:
    the same as the caption of one pair. modality: what the source states. source_mention: uncleaned. grouped: whether
    the source tells the group.
    """

    columns: dict[str, str]
    marked: str
    caption: str
    modality: str
    labels: tuple[str, ...]
    source_mention: str
    grouped: bool = True

    @property
    def licence(self) -> str:
        return self.columns["licence"]

    @cached_property
    def mention(self) -> str:
        return clean_caption(self.source_mention)

    @cached_property
    def language(self) -> str:
        """ISO 639-1 or ""."""
        return language_of(self.caption)

    @cached_property
    def vote(self) -> Vote | None:
        return caption_vote(self.caption)

    @cached_property
    def panels_labelled(self) -> int:
        """How many panels the caption labels."""
        return len(sub_captions(self.marked))

    @property
    def whole(self) -> "PairText":
        """Of the figure in one piece."""
        return PairText(self, "", self.caption)


@dataclass(frozen=True)
class PairText:
    """The text of one pair: a figure in one piece, or one of its panels. panel: as in the corpus."""

    figure: FigureText
    panel: str
    caption: str

    @property
    def id(self) -> str:
        """The record's id, and the letter of the panel that was cut out of it."""
        return self.figure.columns["id"] + (f"#{self.panel}" if self.panel not in ("", WHOLE) else "")

    @cached_property
    def vote(self) -> Vote | None:
        """Of the caption, for a modality."""
        return self.figure.vote if self.caption == self.figure.caption else caption_vote(self.caption)

    @cached_property
    def caption_group(self) -> int:
        return caption_group(self.caption)

    def estimate(self, by: Literal["source", "evidence"]) -> Estimate:
        """The modality, in the fine names."""
        return estimated(self.figure.modality, self.figure.labels, self.vote, by)

    @property
    def named(self) -> bool:
        """Whether the caption names a modality outright."""
        return self.vote is not None and self.vote.trust >= NAMED


def known(facts: F, **values: object) -> F:
    """The same facts, of which these are known from a cached shard and are not worked out again."""
    vars(facts).update(values)
    return facts


def caption_of(record: Record) -> tuple[str, str]:
    """The caption as the source has it, and clean; no setting counts. Raises BadRecordError."""
    original = as_text(record.caption)
    if len(original) > MAX_CAPTION:
        raise BadRecordError(Reason.LONG_CAPTION, f"{len(original):,} characters, at most {MAX_CAPTION:,} are taken")
    return original, clean_caption(original)


def usable(marked: str, original: str, settings: CurateSettings, captionless: bool = False) -> str:
    """What is left of a clean caption; original: for the message. Raises BadRecordError where that is too little.

    captionless: one that is empty to begin with is no fault.
    """
    if captionless and not marked:
        return ""
    caption = fitted(marked, settings)
    if not caption:
        raise BadRecordError(Reason.EMPTY_CAPTION, f"nothing is left of {original[:40]!r} after cleaning")
    if len(caption) < settings.min_caption:
        raise BadRecordError(Reason.SHORT_CAPTION, f"{caption!r} is shorter than {settings.min_caption} (min_caption)")
    return caption


def fitted(caption: str, settings: CurateSettings) -> str:
    """A clean caption, of a figure or a panel, as a pair has it."""
    return strip_references(caption) if settings.captions.references == "strip" else caption


@dataclass(frozen=True)
class Pair:
    """stored: the columns of the picture; encodes it where it has to be, so it is called for pairs that are kept."""

    text: PairText
    image: ImageFacts
    stored: Callable[[], dict[str, Any]]

    def row(self, estimate: Estimate, settings: CurateSettings) -> dict[str, Any]:
        """All columns of `shards.PAIRS`."""
        text, figure = self.text, self.text.figure
        stored = self.stored()
        fine = settings.modality.names == "fine"
        wants_language = settings.captions.language == "tag" or bool(settings.filters.languages)
        own = {
            "id": text.id,
            "caption": text.caption,
            "caption_group": text.caption_group,
            "caption_mention": figure.mention if settings.captions.mention else "",
            "language": figure.language if wants_language else "",
            "panel": text.panel,
            "modality": estimate.modality if fine else evaluated_modality(estimate.modality),
            "modality_stated": figure.modality,
            "modality_evidence": estimate.evidence,
            "modality_confidence": estimate.confidence,
            "labels": "; ".join(figure.labels),
            "grouped": figure.grouped,
        }
        return figure.columns | own | stored


class Facts(Protocol):
    """A record of a source or of a cached shard. Both methods raise BadRecordError."""

    @property
    def origin(self) -> tuple[str, str, str]:
        """Source, place in it, id."""
        ...

    def text(self, settings: CurateSettings) -> FigureText:
        """All of it that needs no picture."""
        ...

    def pairs(self, text: FigureText, settings: CurateSettings) -> list[Pair]:
        """One, or one a panel."""
        ...


@dataclass(frozen=True)
class SourceRecord:
    """Facts of a record as its source has it; its picture is decoded for `pairs`."""

    record: Record

    @property
    def origin(self) -> tuple[str, str, str]:
        return self.record.source, self.record.where, self.record.id

    def text(self, settings: CurateSettings) -> FigureText:
        """Raises BadRecordError for a caption that is empty, too short or too long, and for what is not UTF-8."""
        record = with_caption_dropped(self.record, settings.drop_captions)
        original, marked = caption_of(record)
        caption = usable(marked, original, settings, record.captionless)
        columns = {name: as_text(getattr(record, name)) for name in TEXT if name != "caption_original"}
        group = as_name(record.group)
        columns["group"] = group or columns["id"]  # of one spelling, else a patient is in two splits
        mention = as_text(record.mention)[:MAX_CAPTION]
        return FigureText(
            columns=columns | {"caption_original": original},
            marked=marked,
            caption=caption,
            modality=as_text(record.modality),
            labels=tuple(as_text(label) for label in record.labels),
            source_mention=mention,
            grouped=record.grouped and bool(group),
        )

    def pairs(self, text: FigureText, settings: CurateSettings) -> list[Pair]:
        return pairs_of(opened(self.record, settings), text, settings)


def opened(record: Record, settings: CurateSettings) -> Picture:
    """The picture of a figure. Raises BadRecordError."""
    return open_picture(record.image, settings.min_side, settings.max_side, settings.max_pixels)


def pairs_of(
    picture: Picture, text: FigureText, settings: CurateSettings, boxes: Sequence[Box] | None = None
) -> list[Pair]:
    """boxes: as in `panels_of`. Raises BadRecordError for a compound figure that is not wanted."""
    panels = [Panel("", text.caption, None)]
    if settings.panels != "keep":
        limits, fit = (settings.min_side, settings.min_caption), partial(fitted, settings=settings)
        panels = panels_of(picture.image, text.marked, settings.panels, *limits, fit, boxes)
    texts = (PairText(text, panel.label, panel.caption) for panel in panels)
    pictures = (picture if panel.box is None else picture.part(panel.box) for panel in panels)
    return [_pair(own, shown, settings.max_side) for own, shown in zip(texts, pictures, strict=True)]


def _pair(text: PairText, picture: Picture, max_side: int) -> Pair:
    def stored() -> dict[str, Any]:
        image = store(picture, max_side)
        described = ("width", "height", "sha256", "phash", "thumbnail")
        return {"image": image.data} | {name: getattr(image, name) for name in described}

    return Pair(text, ImageFacts(picture.image.size, picture.image), stored)
