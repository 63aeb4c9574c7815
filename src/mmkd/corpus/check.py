"""A record as its source spells it in, rows of a part out; or the reason why it is not wanted."""

from dataclasses import dataclass
from typing import Any

from mmkd.corpus.captions.language import language_of
from mmkd.corpus.captions.references import strip_references
from mmkd.corpus.clean import clean_caption
from mmkd.corpus.evidence.caption import NAMED, caption_vote
from mmkd.corpus.evidence.vote import Verdict, Vote, judge, label_vote, source_vote, weigh
from mmkd.corpus.filters.facts import WordFacts, image_facts
from mmkd.corpus.filters.table import check_image, check_words, looks_at_images
from mmkd.corpus.images import Picture, open_picture, store
from mmkd.corpus.panels.split import WHOLE, Panel, panels_of
from mmkd.corpus.records import BadRecordError, Reason, Record, as_text
from mmkd.corpus.schema import caption_group
from mmkd.corpus.selection import ModalitySettings
from mmkd.corpus.settings import CurateSettings
from mmkd.corpus.taxonomy import (
    UNKNOWN,
    evaluated_modality,
    fine_modality,
    fine_modality_of_labels,
)

MAX_CAPTION = 10_000  # characters; longer ones are articles, and the cleaning rules are not made for them


@dataclass(frozen=True)
class Words:
    """What a record says, checked. text: the columns that are taken over as they are."""

    text: dict[str, str]
    caption: str
    stated: str
    labels: tuple[str, ...]
    mention: str
    language: str


def checked_pairs(record: Record, settings: CurateSettings) -> list[dict[str, Any]]:
    """Rows of `parts.PAIRS`: one, or one a panel. Raises BadRecordError; the cheap checks come first."""
    words = _words(record, settings)
    vote = caption_vote(words.caption)
    named = vote is not None and vote.trust >= NAMED
    facts = WordFacts(words.caption, words.labels, words.text["licence"], words.language, named)
    check_words(facts, settings.filters)
    verdict = _verdict(words, vote, settings.modality)
    picture = open_picture(record.image, settings.min_side, settings.max_side, settings.max_pixels)
    if looks_at_images(settings.filters):
        check_image(image_facts(picture.image, named), settings.filters)
    panels = panels_of(picture.image, words.caption, settings.panels, settings.min_side, settings.min_caption)
    if len(panels) == 1:
        return [_row(words, panels[0], verdict, picture, settings)]
    return [
        _row(words, panel, _verdict(words, caption_vote(panel.caption), settings.modality), picture, settings)
        for panel in panels
    ]


def _words(record: Record, settings: CurateSettings) -> Words:
    original = as_text(record.caption)
    caption = _checked_caption(original, settings)
    names = ("id", "source", "licence", "group", "where")
    wants_language = settings.captions.language == "tag" or settings.filters.languages
    return Words(
        text={name: as_text(getattr(record, name)) for name in names} | {"caption_original": original},
        caption=caption,
        stated=as_text(record.modality),
        labels=tuple(as_text(label) for label in record.labels),
        mention=clean_caption(as_text(record.mention)[:MAX_CAPTION]) if settings.captions.mention else "",
        language=language_of(caption) if wants_language else "",
    )


def _checked_caption(original: str, settings: CurateSettings) -> str:
    if len(original) > MAX_CAPTION:
        raise BadRecordError(Reason.LONG_CAPTION, f"{len(original):,} characters, at most {MAX_CAPTION:,} are taken")
    caption = clean_caption(original)
    if settings.captions.references == "strip" and settings.panels != "split":
        caption = strip_references(caption)  # of panels that are split, the marks are still needed
    if not caption:
        raise BadRecordError(Reason.EMPTY_CAPTION, f"nothing is left of {original[:40]!r} after cleaning")
    if len(caption) < settings.min_caption:
        raise BadRecordError(Reason.SHORT_CAPTION, f"{caption!r} is shorter than {settings.min_caption} (min_caption)")
    return caption


def _verdict(words: Words, vote: Vote | None, settings: ModalitySettings) -> Verdict:
    """In the fine names. Raises BadRecordError below min_confidence."""
    votes = {"source": source_vote(words.stated), "label": label_vote(words.labels), "caption": vote}
    if settings.by == "evidence":
        verdict = weigh(votes)
    else:
        stated = fine_modality(words.stated) if words.stated else fine_modality_of_labels(words.labels)
        verdict = judge(votes, stated or UNKNOWN)
    if verdict.confidence < settings.min_confidence:
        detail = f"{verdict.modality} with {verdict.confidence:.2f} by {verdict.evidence or 'nothing'} (min_confidence)"
        raise BadRecordError(Reason.UNSURE_MODALITY, detail)
    return verdict


def _row(words: Words, panel: Panel, verdict: Verdict, picture: Picture, settings: CurateSettings) -> dict[str, Any]:
    strip = settings.captions.references == "strip" and settings.panels == "split"
    caption = (strip_references(panel.caption) or panel.caption) if strip else panel.caption
    image = store(picture if panel.box is None else picture.part(panel.box), settings.max_side)
    fine = settings.modality.names == "fine"
    row = {
        "caption": caption,
        "modality": verdict.modality if fine else evaluated_modality(verdict.modality),
        "modality_stated": words.stated,
        "modality_evidence": verdict.evidence,
        "modality_confidence": verdict.confidence,
        "labels": "; ".join(words.labels),
        "caption_mention": words.mention,
        "language": words.language,
        "panel": panel.label,
        "caption_group": caption_group(caption),
        "image": image.data,
        "width": image.width,
        "height": image.height,
        "sha256": image.sha256,
        "phash": image.phash,
    }
    suffix = f"#{panel.label}" if panel.label not in ("", WHOLE) else ""
    return words.text | row | {"id": words.text["id"] + suffix}
