"""BIOMEDICA's JSON of a figure, as its tars and the public MMKD-CLIP folder carry it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import as_text, distinct_keys

# our field -> keys of the JSON, the first one present counts; the second names are BIOMEDICA's
META_FIELDS = {
    "caption": ("caption",),
    "modality": ("modality",),
    "group": ("group", "article_accession_id"),
    "licence": ("licence", "license", "article_license"),
}
LABELS = ("image_secondary_label", "image_primary_label")  # the more specific ones first


@dataclass(frozen=True)
class FigureFacts:
    """What the JSON says of a figure; "" where it says nothing. The fields are those of `Record`."""

    caption: str
    modality: str
    group: str
    licence: str
    labels: tuple[str, ...]
    mention: str


def parse_meta(raw: bytes) -> Mapping[str, Any]:
    """The JSON object; an empty one for no bytes. Raises BadRecordError when it is anything else."""
    if not raw:
        return {}
    try:
        meta = json.loads(raw, object_pairs_hook=distinct_keys)
    except (ValueError, RecursionError) as error:
        raise BadRecordError(Reason.UNREADABLE_ROW, f"its JSON is not readable: {error}") from None
    if not isinstance(meta, dict):
        raise BadRecordError(Reason.UNREADABLE_ROW, f"expected a JSON object, found {type(meta).__name__}")
    return meta


def figure_facts(meta: Mapping[str, Any]) -> FigureFacts:
    """The facts that the corpus keeps. The labels are those of the figure's cluster.

    Numbers are taken as their text. Raises BadRecordError for lists and objects, which have none.
    """
    field = {ours: as_text(next((meta[k] for k in keys if meta.get(k)), "")) for ours, keys in META_FIELDS.items()}
    return FigureFacts(
        caption=field["caption"] or _figure_caption(meta),
        modality=field["modality"],
        group=field["group"],
        licence=field["licence"],
        labels=_labels(meta),
        mention=_mention(meta),
    )


def _labels(meta: Mapping[str, Any]) -> tuple[str, ...]:
    found = [meta.get(key) or [] for key in LABELS]
    return tuple(as_text(label) for labels in found for label in (labels if isinstance(labels, list) else [labels]))


def _mention(meta: Mapping[str, Any]) -> str:
    """The paragraphs of the article that refer to this figure."""
    context = meta.get("image_context")
    found = context.get(_cluster(meta), "") if isinstance(context, dict) else ""
    return " ".join(as_text(part) for part in (found if isinstance(found, list) else [found]))


def _figure_caption(meta: Mapping[str, Any]) -> str:
    """BIOMEDICA's own caption: that of the figure among the article's whose id the sample has."""
    figures = meta.get("image_set")
    for figure in figures if isinstance(figures, list) else []:
        if isinstance(figure, dict) and as_text(figure.get("image_id")) == _cluster(meta):
            return as_text(figure.get("caption"))
    return ""


def _cluster(meta: Mapping[str, Any]) -> str:
    """The figure's id among those of its article."""
    return as_text(meta.get("image_cluster_id"))
