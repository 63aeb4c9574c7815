"""Which pairs of a record are kept: all its facts in, rows of a shard out, or the reasons why there are none.

The order of the checks: the caption as such; licence, labels and language of the figure; the words and the modality of
each pair; the picture; its panels; how each pair looks. Where the caption takes a figure apart, its pairs are known
only with the picture, so their words come after it.
"""

from typing import Any

from mmkd.corpus.taxonomy import UNKNOWN, evaluated_modality, fine_modality, fine_modality_of_labels
from mmkd.curation.facts.pairs import Facts, Pair
from mmkd.curation.facts.text import PairText
from mmkd.curation.filters.table import FIGURE_FILTERS, IMAGE_FILTERS, PAIR_FILTERS, check
from mmkd.curation.modality.votes import Estimate, judge, label_vote, source_vote, weigh
from mmkd.curation.panels.split import CUTTING
from mmkd.curation.records.record import Rejected
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.selection import ModalitySettings
from mmkd.reasons import BadRecordError, Reason


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
            check(pair.image, IMAGE_FILTERS, settings.filters)
        except BadRecordError as bad:
            rows.append(Rejected(source, where, pair.text.id, bad.reason, bad.detail))
        else:
            rows.append(row_of(pair, estimate, settings))
    return rows


def estimated(text: PairText, settings: CurateSettings) -> Estimate:
    """The modality of a pair, in the fine names. Raises BadRecordError where its words or its modality keep it out."""
    check(text, PAIR_FILTERS, settings.filters)
    estimate = _estimate(text, settings.modality)
    if estimate.confidence < settings.modality.min_confidence:
        by = estimate.evidence or "nothing"
        detail = f"{estimate.modality} with {estimate.confidence:.2f} by {by} (min_confidence)"
        raise BadRecordError(Reason.UNSURE_MODALITY, detail)
    return estimate


def _estimate(text: PairText, settings: ModalitySettings) -> Estimate:
    figure = text.figure
    votes = {"source": source_vote(figure.modality), "label": label_vote(figure.labels), "caption": text.vote}
    if settings.by == "evidence":
        return weigh(votes)
    stated = fine_modality(figure.modality) if figure.modality else fine_modality_of_labels(figure.labels)
    return judge(votes, stated or UNKNOWN)


def row_of(pair: Pair, estimate: Estimate, settings: CurateSettings) -> dict[str, Any]:
    """All columns of `shards.PAIRS`."""
    text, figure = pair.text, pair.text.figure
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
    }
    return figure.columns | own | pair.stored()
