"""All that filters and the verdict look at, of every record of a shard: what a kept part holds beside the pictures.

Choosing among these rows gives the same pairs and rejections as `check.checked_pairs` gives from the records, by any
settings of which `loosest` is the same as of those they were read by.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from mmkd.corpus.schema import caption_group
from mmkd.curation.captions.language import language_of
from mmkd.curation.check import check_figure, decided, judged, opened, piece, stored, taken_apart, told_of
from mmkd.curation.evidence.caption import caption_vote
from mmkd.curation.evidence.vote import Vote
from mmkd.curation.filters.facts import KnownImage, SeenImage, image_facts
from mmkd.curation.filters.graphic import GraphicSigns
from mmkd.curation.filters.table import check_image, looks_at_images
from mmkd.curation.ledger.examples import EACH, thumbnail
from mmkd.curation.panels.gutters import panel_boxes
from mmkd.curation.panels.split import CUTTING, WHOLE, check_compound
from mmkd.curation.panels.sub_captions import sub_captions
from mmkd.curation.parts import PAIRS, printable
from mmkd.curation.records.record import Excluded, Found, Record, Rejected
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.words import TEXT, Figure, Words, caption_of, figure_of, usable, wants_language, words_of
from mmkd.images.store import check_size, claimed_size, store
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import as_text

MAX_SHOWN = 300  # characters of a caption that are shown
DECIDED = ("modality", "modality_evidence", "modality_confidence", "labels")
AT_ONCE, AFTER_CAPTION, AT_PICTURE, EXCLUDED = "at once", "after caption", "at picture", "excluded"
"""When a record that gave no pair was lost: before its caption was known; when only that was; when all words were. The
last row may only say how many records `include` does not select."""

# lost, reason, detail: of a record without a pair. excluded: how many records the last row stands for. place: which
# pair of its figure. voted, trust: the caption's vote. claimed: the picture's size by its header, null where even that
# is not to be read; own: the pair's, upright. panels_seen, panels_labelled: of the whole figure, by its picture and by
# its caption.
KNOWN = pa.schema(
    [field for field in PAIRS if field.name not in DECIDED]
    + [(name, pa.string()) for name in ("figure_id", "voted", "lost", "reason", "detail")]
    + [("excluded", pa.int64()), ("trust", pa.float64()), ("label_list", pa.list_(pa.string()))]
    + [(name, pa.int32()) for name in ("place", "own_width", "own_height", "colours", "lines")]
    + [(name, pa.int32()) for name in ("claimed_width", "claimed_height", "panels_seen", "panels_labelled")]
    + [(name, pa.float64()) for name in ("contrast", "paper")]
)


def loosest(settings: CurateSettings) -> CurateSettings:
    """What these settings read by: those that can be chosen anew from rows of KNOWN are as open as they can be.

    Where figures are cut, the sizes of panels and the length of what is said of each decide about the cut and are left.
    """
    if settings.panels in CUTTING:
        return settings.model_copy(update={"panels": "split"})
    captions = settings.captions.model_copy(update={"references": "keep"})
    return settings.model_copy(update={"panels": "keep", "min_side": 1, "min_caption": 1, "captions": captions})


def known_rows(found: Iterable[Found], settings: CurateSettings) -> Iterator[dict[str, Any]]:
    """Rows of KNOWN, one a pair, or one for a record that gives none. settings: `loosest` ones.

    Of the first records that are lost for a reason a small picture is kept for the ledger, which need not read again.
    """
    shown: Counter[str] = Counter()
    excluded: Counter[str] = Counter()
    for one in found:
        if isinstance(one, Excluded):
            excluded[one.source] += one.records
            continue
        rows = _lost(one) if isinstance(one, Rejected) else rows_of_record(one, settings)
        if isinstance(one, Record) and rows[0]["lost"] and shown[rows[0]["reason"]] < EACH:
            shown[rows[0]["reason"]] += 1
            rows = [{"caption": raw_caption(one), **rows[0], "image": thumbnail(one.image)}]
        yield from rows
    yield from ({"source": name, "lost": EXCLUDED, "excluded": number} for name, number in excluded.items())


def rows_of_record(record: Record, settings: CurateSettings) -> list[dict[str, Any]]:
    """As `known_rows`."""
    try:
        figure = figure_of(record, settings, everything=True)
    except BadRecordError as bad:
        return _lost_at_words(record, bad)
    labelled = {"panels_labelled": len(sub_captions(figure.marked))}
    try:
        picture = opened(record.image, settings)
    except BadRecordError as bad:
        lost = {"lost": AT_PICTURE, "reason": str(bad.reason), "detail": printable(bad.detail)}
        return [_said(words_of(figure)) | labelled | lost | _claimed(record.image, settings)]
    boxes = panel_boxes(picture.image)
    whole = labelled | {"panels_seen": len(boxes)} | _size("claimed", picture.claimed)
    rows = []
    for place, panel in enumerate(taken_apart(picture, figure, settings, boxes)):
        words, own = words_of(figure, panel.label, panel.caption), piece(picture, panel)
        looks = _seen(image_facts(own.image, words.named)) | stored(store(own, settings.max_side))
        rows.append(_said(words) | looks | whole | {"place": place})
    return rows


def chosen(row: Mapping[str, Any], settings: CurateSettings) -> dict[str, Any] | Rejected | Excluded | None:
    """A row of PAIRS without its image, from one of KNOWN, or why the pair is not wanted.

    A figure that is refused with all its panels is told once, for the first of them; for the others it is None.
    """
    if row["lost"] == EXCLUDED:
        return Excluded(row["source"], row["excluded"])
    if row["lost"] == AT_ONCE:
        return _refused(row, row["id"], _again(row))
    try:
        caption = usable(row["caption"], row["caption_original"], settings)
        if row["lost"] == AFTER_CAPTION:
            raise _again(row)
        words = _words(row, caption)
        check_figure(words.figure, settings)
    except BadRecordError as bad:
        return None if row["place"] else _refused(row, row["figure_id"], bad)
    try:
        return _pair(row, words, settings)
    except BadRecordError as bad:
        return _refused(row, row["id"], bad)


def _pair(row: Mapping[str, Any], words: Words, settings: CurateSettings) -> dict[str, Any]:
    waits = settings.panels in CUTTING and row["panels_labelled"] > 1  # for the picture, as `split.may_be_cut` says
    verdict = None if waits else judged(words, settings)
    _check_picture(row, settings)
    verdict = verdict or judged(words, settings)
    if looks_at_images(settings.filters):
        signs = GraphicSigns(row["paper"], row["colours"], row["lines"])
        size = row["own_width"], row["own_height"]
        check_image(KnownImage(size, row["contrast"], signs, words.named), settings.filters)
    told = {name: row[name] for name in PAIRS.names if name in row and name != "image"}
    if words.caption != row["caption"]:
        told |= {"caption": words.caption, "caption_group": caption_group(words.caption)}
    told["language"] = words.figure.language if wants_language(settings) else ""
    told["caption_mention"] = row["caption_mention"] if settings.captions.mention else ""
    return told | decided(words.figure, verdict, settings)


def _check_picture(row: Mapping[str, Any], settings: CurateSettings) -> None:
    if row["claimed_width"] is not None:
        check_size((row["claimed_width"], row["claimed_height"]), settings.min_side, settings.max_side)
    if row["lost"]:
        raise _again(row)
    if row["panel"] in ("", WHOLE):
        check_compound(row["panels_seen"], row["panels_labelled"], settings.panels)


def raw_caption(record: Record) -> str:
    """The beginning of it as the source has it, for people to look at; nothing where it is no text."""
    try:
        return as_text(record.caption)[:MAX_SHOWN]
    except BadRecordError:
        return ""


def _lost(one: Rejected) -> list[dict[str, Any]]:
    text = {name: printable(getattr(one, name)) for name in ("source", "where", "id", "reason", "detail")}
    return [text | {"lost": AT_ONCE}]


def _lost_at_words(record: Record, bad: BadRecordError) -> list[dict[str, Any]]:
    """With the caption, where it was not the caption: a stricter `min_caption` refuses the record for that first."""
    (row,) = _lost(Rejected(record.source, record.where, record.id, bad.reason, bad.detail))
    try:
        original, marked = caption_of(record)
    except BadRecordError:
        return [row]
    said = {"figure_id": row["id"], "place": 0, "caption": marked, "caption_original": original}
    return [row | said | {"lost": AFTER_CAPTION}]


def _claimed(image: bytes, settings: CurateSettings) -> dict[str, Any]:
    try:
        return _size("claimed", claimed_size(image, settings.max_pixels))
    except BadRecordError:
        return {}


def _size(name: str, size: tuple[int, int]) -> dict[str, Any]:
    return {f"{name}_width": size[0], f"{name}_height": size[1]}


def _refused(row: Mapping[str, Any], identity: str, bad: BadRecordError) -> Rejected:
    return Rejected(row["source"], row["where"], identity, bad.reason, bad.detail)


def _again(row: Mapping[str, Any]) -> BadRecordError:
    return BadRecordError(Reason(row["reason"]), row["detail"])


def _said(words: Words) -> dict[str, Any]:
    figure, vote = words.figure, words.vote
    own = {"figure_id": figure.text["id"], "place": 0, "label_list": list(figure.labels), "lost": ""}
    voted = {"voted": vote.modality, "trust": vote.trust} if vote else {"voted": "", "trust": 0.0}
    return told_of(figure, words.panel, words.caption) | own | voted


def _seen(facts: SeenImage) -> dict[str, Any]:
    signs = facts.signs
    looks = {"contrast": facts.contrast, "paper": signs.paper, "colours": signs.colours, "lines": signs.lines}
    return _size("own", facts.size) | looks


def _words(row: Mapping[str, Any], caption: str) -> Words:
    """The words of a row of KNOWN with the caption that these settings make of its own; what hangs on that is known
    already where it is the same. Marks of panels have done their part."""
    text = {name: row[name] for name in TEXT} | {"id": row["figure_id"]}
    vote, language = Vote(row["voted"], row["trust"]) if row["voted"] else None, row["language"]
    if caption != row["caption"]:
        vote, language = caption_vote(caption), language_of(caption)
    told = row["modality_stated"], tuple(row["label_list"]), row["caption_mention"], language
    return Words(Figure(text, caption, caption, *told), row["panel"], caption, vote)
