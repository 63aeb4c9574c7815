"""BIOMEDICA's JSON of a figure, as its tars and the public MMKD-CLIP folder carry it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import Captions, as_text, caption_cell, captions_in, distinct_keys, is_container

# our field -> keys of the JSON, the first one present counts; the second names are BIOMEDICA's
META_FIELDS = {
    "modality": ("modality",),
    "group": ("group", "article_accession_id"),
    "licence": ("licence", "license", "article_license"),
}
LABELS = ("image_secondary_label", "image_primary_label")  # the more specific ones first


@dataclass(frozen=True)
class FigureFacts:
    """What the JSON says of a figure; "" where it says nothing. The fields are those of `Record`.

    captions: none, one, or several where the recipe takes all of a list."""

    captions: tuple[str, ...]
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


def figure_facts(meta: Mapping[str, Any], choice: Captions = "one") -> FigureFacts:
    """The facts that the corpus keeps. The labels are those of the figure's cluster.

    Numbers are taken as their text. Raises BadRecordError for lists and objects, which have none.
    """
    field = {ours: as_text(next((meta[k] for k in keys if meta.get(k)), "")) for ours, keys in META_FIELDS.items()}
    return FigureFacts(
        captions=_captions(meta.get("caption") or _figure_caption(meta), choice),
        modality=field["modality"],
        group=field["group"],
        licence=field["licence"],
        labels=_labels(meta),
        mention=_mention(meta),
    )


def _captions(value: object, choice: Captions) -> tuple[str, ...]:
    value = caption_cell(value)
    if value is None or value != value or value in ("", []):
        return ()
    found = captions_in(value, choice)
    return tuple(text for caption in found if (text := as_text(caption)))


def _labels(meta: Mapping[str, Any]) -> tuple[str, ...]:
    found = [meta.get(key) or [] for key in LABELS]
    return tuple(as_text(label) for labels in found for label in (labels if isinstance(labels, list) else [labels]))


def _mention(meta: Mapping[str, Any]) -> str:
    """The paragraphs of the article that refer to this figure."""
    context = meta.get("image_context")
    found = context.get(_cluster(meta), "") if isinstance(context, dict) else ""
    return " ".join(as_text(part) for part in (found if isinstance(found, list) else [found]))


def _figure_caption(meta: Mapping[str, Any]) -> Any:
    """BIOMEDICA's own caption: that of the figure among the article's whose id the sample has."""
    figures, wanted = meta.get("image_set"), _cluster(meta)
    for figure in figures if isinstance(figures, list) else []:
        if not isinstance(figure, dict) or is_container(figure.get("image_id")):
            continue
        if wanted and as_text(figure.get("image_id")) == wanted:
            return figure.get("caption")
    return None


def _cluster(meta: Mapping[str, Any]) -> str:
    """The figure's id among those of its article, "" where there is none: lists and objects name no figure."""
    found = meta.get("image_cluster_id")
    return "" if is_container(found) else as_text(found)
