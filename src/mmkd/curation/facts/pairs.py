"""The pairs of image and text of a record, with the facts of both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from mmkd.curation.facts.image import ImageFacts
from mmkd.curation.facts.text import FigureText, PairText, figure_text, fitted
from mmkd.curation.panels.split import panels_of
from mmkd.curation.records.record import Record
from mmkd.curation.settings.curate import CurateSettings
from mmkd.images.box import Box
from mmkd.images.store import Picture, open_picture, store


@dataclass(frozen=True)
class Pair:
    """stored: the columns of the picture; encodes it where it has to be, so it is called for pairs that are kept."""

    text: PairText
    image: ImageFacts
    stored: Callable[[], dict[str, Any]]


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
        return figure_text(self.record, settings)

    def pairs(self, text: FigureText, settings: CurateSettings) -> list[Pair]:
        return pairs_of(opened(self.record, settings), text, settings)


def opened(record: Record, settings: CurateSettings) -> Picture:
    """The picture of a figure. Raises BadRecordError."""
    return open_picture(record.image, settings.min_side, settings.max_side, settings.max_pixels)


def pairs_of(
    picture: Picture, text: FigureText, settings: CurateSettings, boxes: Sequence[Box] | None = None
) -> list[Pair]:
    """boxes: as in `panels_of`. Raises BadRecordError for a compound figure that is not wanted."""
    fit = partial(fitted, settings=settings)
    limits = settings.min_side, settings.min_caption
    panels = panels_of(picture.image, text.marked, settings.panels, *limits, fit, boxes)
    texts = (PairText(text, panel.label, panel.caption) for panel in panels)
    pictures = (picture if panel.box is None else picture.part(panel.box) for panel in panels)
    return [_pair(own, shown, settings.max_side) for own, shown in zip(texts, pictures, strict=True)]


def _pair(text: PairText, picture: Picture, max_side: int) -> Pair:
    def stored() -> dict[str, Any]:
        image = store(picture, max_side)
        described = ("width", "height", "sha256", "phash", "thumbnail")
        return {"image": image.data} | {name: getattr(image, name) for name in described}

    return Pair(text, ImageFacts(text, picture.image.size, picture.image), stored)
