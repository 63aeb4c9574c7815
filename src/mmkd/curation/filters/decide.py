"""Which pairs of a record are kept: all its facts in, rows of a shard out, or the reasons why there are none.

The order of the checks: the caption as such; licence, labels and language of the figure, which let in or keep out a
record with all its panels; the words and the modality of each pair, which is a figure in one piece or one of its
panels; the picture; its panels; how each pair looks. A figure that nothing can cut is a pair before it is decoded, so
an image whose caption is not wanted never is. Where the caption takes a figure apart, its pairs are known only with the
picture, so their words come after it.

A new filter is a function and a line in one of the tables: name, reason, test.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mmkd.curation.captions.drawn import drawn_word
from mmkd.curation.captions.references import has_content
from mmkd.curation.facts.pairs import Facts, FigureText, Pair, PairText
from mmkd.curation.modality.votes import Estimate
from mmkd.curation.panels.split import CUTTING
from mmkd.curation.records.record import Rejected
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.selection import FilterSettings
from mmkd.licences import licence_class
from mmkd.modalities.taxonomy import (
    NONCLINICAL_LABELS,
    fine_modality_of_labels,
    plain_name,
)
from mmkd.reasons import BadRecordError, Reason

F = TypeVar("F")


@dataclass(frozen=True)
class Filter(Generic[F]):
    """rejects: why what it looks at is not wanted, "" where it is."""

    name: str
    reason: Reason
    rejects: Callable[[F, FilterSettings], str]


def check(facts: F, filters: Sequence[Filter[F]], settings: FilterSettings) -> None:
    """Raises BadRecordError with the reason of the first of the filters that rejects."""
    for entry in filters:
        if detail := entry.rejects(facts, settings):
            raise BadRecordError(entry.reason, f"{entry.name}: {detail}")


def _licence(facts: FigureText, settings: FilterSettings) -> str:
    if not settings.licences or (found := licence_class(facts.licence)) in settings.licences:
        return ""
    return f"{facts.licence!r} is {found}; accepted: {', '.join(settings.licences)}"


def _labels(facts: FigureText, settings: FilterSettings) -> str:
    if "labels" not in settings.nonclinical or not facts.labels:
        return ""
    drawn = [label for label in facts.labels if plain_name(label) in NONCLINICAL_LABELS]
    return f"labelled {', '.join(drawn)}" if drawn and fine_modality_of_labels(facts.labels) == "other" else ""


def _drawn_caption(facts: PairText, settings: FilterSettings) -> str:
    if "caption" not in settings.nonclinical or facts.named:
        return ""
    found = drawn_word(facts.caption)
    return f"the caption says {found!r} and names no modality" if found else ""


def _few_words(facts: PairText, settings: FilterSettings) -> str:
    count = len(facts.caption.split())
    return f"{count} words, at least {settings.min_words} are wanted" if count < settings.min_words else ""


def _many_words(facts: PairText, settings: FilterSettings) -> str:
    count, most = len(facts.caption.split()), settings.max_words
    return f"{count} words, at most {most} are wanted" if most is not None and count > most else ""


def _content(facts: PairText, settings: FilterSettings) -> str:
    return f"{facts.caption[:40]!r} says nothing" if settings.content and not has_content(facts.caption) else ""


def _language(facts: FigureText, settings: FilterSettings) -> str:
    if not settings.languages or not facts.language or facts.language in settings.languages:
        return ""
    return f"{facts.language}; accepted: {', '.join(settings.languages)}"


def _aspect(pair: Pair, settings: FilterSettings) -> str:
    width, height = pair.image.size
    aspect = max(width, height) / min(width, height)
    if settings.max_aspect is None or aspect <= settings.max_aspect:
        return ""
    return f"{width} x {height} pixels are {aspect:.1f} : 1, at most {settings.max_aspect} is wanted"


def _contrast(pair: Pair, settings: FilterSettings) -> str:
    if settings.min_contrast <= 0 or pair.image.contrast >= settings.min_contrast:
        return ""
    return f"grey levels deviate by {pair.image.contrast:.2f}, at least {settings.min_contrast} is wanted"


def _drawn_image(pair: Pair, settings: FilterSettings) -> str:
    if "image" not in settings.nonclinical or pair.text.named:
        return ""
    signs = pair.image.signs
    found = f"{signs.paper:.0%} paper, {signs.colours} shades, {signs.lines} straight lines"
    return found if signs.drawn(settings.max_paper) else ""


FIGURE_FILTERS: tuple[Filter[FigureText], ...] = (
    Filter("licence", Reason.LICENCE, _licence),
    Filter("nonclinical labels", Reason.NONCLINICAL, _labels),
    Filter("language", Reason.LANGUAGE, _language),
)
PAIR_FILTERS: tuple[Filter[PairText], ...] = (
    Filter("content", Reason.NO_CONTENT, _content),
    Filter("min_words", Reason.SHORT_CAPTION, _few_words),
    Filter("max_words", Reason.LONG_CAPTION, _many_words),
    Filter("nonclinical caption", Reason.NONCLINICAL, _drawn_caption),
)
IMAGE_FILTERS: tuple[Filter[Pair], ...] = (
    Filter("aspect", Reason.ASPECT, _aspect),
    Filter("contrast", Reason.BLANK, _contrast),
    Filter("nonclinical image", Reason.NONCLINICAL, _drawn_image),
)


def decide(record: Facts, settings: CurateSettings) -> list[dict[str, Any] | Rejected]:
    """A row of `shards.PAIRS` or a rejection: one, or one a panel. The cheap checks come first."""
    source, where, identity = record.origin
    try:
        text = record.text(settings)
        check(text, FIGURE_FILTERS, settings.filters)
        waits = settings.panels in CUTTING and text.panels_labelled > 1  # the picture decides whether it is cut
        whole = None if waits else estimated(text.whole, settings)
        pairs = record.pairs(text, settings)
    except BadRecordError as bad:
        return [Rejected(source, where, identity, bad.reason, bad.detail)]
    rows: list[dict[str, Any] | Rejected] = []
    for pair in pairs:
        try:
            estimate = whole or estimated(pair.text, settings)
            check(pair, IMAGE_FILTERS, settings.filters)
        except BadRecordError as bad:
            rows.append(Rejected(source, where, pair.text.id, bad.reason, bad.detail))
        else:
            rows.append(pair.row(estimate, settings))
    return rows


def estimated(text: PairText, settings: CurateSettings) -> Estimate:
    """The modality of a pair, in the fine names. Raises BadRecordError where its words or its modality keep it out."""
    if text.caption:  # the words of a picture without a caption keep nothing out
        check(text, PAIR_FILTERS, settings.filters)
    estimate = text.estimate(settings.modality.by)
    if estimate.confidence < settings.modality.min_confidence:
        by = estimate.evidence or "nothing"
        detail = f"{estimate.modality} with {estimate.confidence:.2f} by {by} (min_confidence)"
        raise BadRecordError(Reason.UNSURE_MODALITY, detail)
    return estimate
