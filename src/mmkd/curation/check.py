"""A record as its source spells it in, rows of a part out; or the reason why it, or a panel of it, is not wanted.

The order of the checks: the caption as such; licence, labels and language of the figure; the words and the modality of
each pair; the picture; its panels; how each pair looks. Where the caption takes a figure apart, its pairs are known
only with the picture, so their words come after it.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mmkd.corpus.schema import caption_group
from mmkd.corpus.taxonomy import (
    UNKNOWN,
    evaluated_modality,
    fine_modality,
    fine_modality_of_labels,
)
from mmkd.curation.evidence.vote import Verdict, judge, label_vote, source_vote, weigh
from mmkd.curation.filters.facts import image_facts
from mmkd.curation.filters.table import FIGURE_FILTERS, PAIR_FILTERS, check_image, check_words, looks_at_images
from mmkd.curation.panels.split import WHOLE, Panel, may_be_cut, panels_of
from mmkd.curation.records.record import Record, Rejected
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.selection import ModalitySettings
from mmkd.curation.words import Figure, Words, figure_of, fitted, word_facts, words_of
from mmkd.images.box import Box
from mmkd.images.store import Picture, StoredImage, open_picture, store
from mmkd.reasons import BadRecordError, Reason


def checked_pairs(record: Record, settings: CurateSettings) -> list[dict[str, Any] | Rejected]:
    """A row of `parts.PAIRS` or a rejection: one, or one a panel. The cheap checks come first."""
    try:
        figure = figure_of(record, settings)
        check_figure(figure, settings)
        whole, verdict = None, None
        if not may_be_cut(figure.marked, settings.panels):
            whole = words_of(figure)
            verdict = judged(whole, settings)
        picture = opened(record.image, settings)
        panels = taken_apart(picture, figure, settings)
    except BadRecordError as bad:
        return [Rejected(record.source, record.where, record.id, bad.reason, bad.detail)]
    rows: list[dict[str, Any] | Rejected] = []
    for panel in panels:
        words = words_of(figure, panel.label, panel.caption) if whole is None else whole
        own = piece(picture, panel)
        try:
            settled = verdict or judged(words, settings)
            if looks_at_images(settings.filters):
                check_image(image_facts(own.image, words.named), settings.filters)
        except BadRecordError as bad:
            rows.append(Rejected(record.source, record.where, pair_id(figure, panel.label), bad.reason, bad.detail))
        else:
            told = told_of(figure, panel.label, words.caption) | stored(store(own, settings.max_side))
            rows.append(told | decided(figure, settled, settings))
    return rows


def opened(data: bytes, settings: CurateSettings) -> Picture:
    """The picture of a figure. Raises BadRecordError."""
    return open_picture(data, settings.min_side, settings.max_side, settings.max_pixels)


def taken_apart(
    picture: Picture, figure: Figure, settings: CurateSettings, boxes: Sequence[Box] | None = None
) -> list[Panel]:
    """What a figure is cut into; boxes: as in `panels_of`. Raises BadRecordError."""
    fit = partial(fitted, settings=settings)
    limits = settings.min_side, settings.min_caption
    return panels_of(picture.image, figure.marked, settings.panels, *limits, fit, boxes)


def piece(picture: Picture, panel: Panel) -> Picture:
    """What a panel shows."""
    return picture if panel.box is None else picture.part(panel.box)


def check_figure(figure: Figure, settings: CurateSettings) -> None:
    """What keeps a figure out with all its panels. Raises BadRecordError."""
    check_words(word_facts(figure), settings.filters, FIGURE_FILTERS)


def judged(words: Words, settings: CurateSettings) -> Verdict:
    """The modality of a pair, in the fine names. Raises BadRecordError where its words or its modality keep it out."""
    check_words(word_facts(words.figure, words), settings.filters, PAIR_FILTERS)
    return _verdict(words, settings.modality)


def _verdict(words: Words, settings: ModalitySettings) -> Verdict:
    figure = words.figure
    votes = {"source": source_vote(figure.stated), "label": label_vote(figure.labels), "caption": words.vote}
    if settings.by == "evidence":
        verdict = weigh(votes)
    else:
        stated = fine_modality(figure.stated) if figure.stated else fine_modality_of_labels(figure.labels)
        verdict = judge(votes, stated or UNKNOWN)
    if verdict.confidence < settings.min_confidence:
        detail = f"{verdict.modality} with {verdict.confidence:.2f} by {verdict.evidence or 'nothing'} (min_confidence)"
        raise BadRecordError(Reason.UNSURE_MODALITY, detail)
    return verdict


def pair_id(figure: Figure, panel: str) -> str:
    """The record's id, and the letter of the panel that was cut out of it."""
    return figure.text["id"] + (f"#{panel}" if panel not in ("", WHOLE) else "")


def told_of(figure: Figure, panel: str, caption: str) -> dict[str, Any]:
    """Columns of `parts.PAIRS` that hang on no picture and on no choice among pairs."""
    own = {
        "id": pair_id(figure, panel),
        "caption": caption,
        "modality_stated": figure.stated,
        "caption_mention": figure.mention,
        "language": figure.language,
        "panel": panel,
        "caption_group": caption_group(caption),
    }
    return figure.text | own


def stored(image: StoredImage) -> dict[str, Any]:
    """Those of the picture."""
    told = ("width", "height", "sha256", "phash", "thumbnail")
    return {"image": image.data} | {name: getattr(image, name) for name in told}


def decided(figure: Figure, verdict: Verdict, settings: CurateSettings) -> dict[str, Any]:
    """Those that the verdict fills, and the labels."""
    fine = settings.modality.names == "fine"
    return {
        "modality": verdict.modality if fine else evaluated_modality(verdict.modality),
        "modality_evidence": verdict.evidence,
        "modality_confidence": verdict.confidence,
        "labels": "; ".join(figure.labels),
    }
