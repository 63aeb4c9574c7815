"""All that filters and the verdict look at, of every record of a shard: what a kept part holds beside the pictures.

Choosing among these rows gives the same pairs and rejections as `check.checked_pairs` gives from the records.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from mmkd.corpus.check import check_figure, decided, judged, opened, piece, stored, told_of
from mmkd.corpus.evidence.vote import Vote
from mmkd.corpus.filters.facts import KnownImage, SeenImage, image_facts
from mmkd.corpus.filters.graphic import GraphicSigns
from mmkd.corpus.filters.table import check_image, looks_at_images
from mmkd.corpus.images import store
from mmkd.corpus.ledger.examples import EACH, thumbnail
from mmkd.corpus.panels.split import may_be_cut
from mmkd.corpus.parts import PAIRS, printable
from mmkd.corpus.records import BadRecordError, Found, LeftOut, Reason, Record, Rejected, as_text
from mmkd.corpus.settings import CurateSettings
from mmkd.corpus.words import TEXT, Figure, Words, figure_of, wants_language, words_of

MAX_SHOWN = 300  # characters of a caption that are shown
DECIDED = ("modality", "modality_evidence", "modality_confidence", "labels")
AT_ONCE, BEFORE_WORDS, AFTER_WORDS, LEFT_OUT = "at once", "before words", "after words", "left out"
"""When a record that gave no pair was lost: before anything was known of it; at its picture, before or after the words
of its pairs are judged (a caption that may take the figure apart waits for the picture). The last row may only
say how many records `only` leaves out."""

# lost, reason, detail: of a record without a pair. left_out: how many records the last row stands for. place: which
# pair of its figure. voted, trust: the caption's vote.
KNOWN = pa.schema(
    [field for field in PAIRS if field.name not in DECIDED]
    + [(name, pa.string()) for name in ("figure_id", "voted", "lost", "reason", "detail")]
    + [("left_out", pa.int64()), ("trust", pa.float64()), ("label_list", pa.list_(pa.string()))]
    + [(name, pa.int32()) for name in ("place", "own_width", "own_height", "colours", "lines")]
    + [(name, pa.float64()) for name in ("contrast", "paper")]
)


def known_rows(found: Iterable[Found], settings: CurateSettings) -> Iterator[dict[str, Any]]:
    """Rows of KNOWN, one a pair, or one for a record that gives none; of the settings only those of reading count.

    Of the first records that are lost for a reason a small picture is kept for the ledger, which need not read again.
    """
    shown: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for one in found:
        if isinstance(one, LeftOut):
            left_out[one.source] += one.records
            continue
        rows = _lost(one) if isinstance(one, Rejected) else rows_of_record(one, settings)
        if isinstance(one, Record) and rows[0]["lost"] and shown[rows[0]["reason"]] < EACH:
            shown[rows[0]["reason"]] += 1
            rows = [{"caption": raw_caption(one), **rows[0], "image": thumbnail(one.image)}]
        yield from rows
    yield from ({"source": name, "lost": LEFT_OUT, "left_out": number} for name, number in left_out.items())


def rows_of_record(record: Record, settings: CurateSettings) -> list[dict[str, Any]]:
    """As `known_rows`."""
    try:
        figure = figure_of(record, settings, everything=True)
    except BadRecordError as bad:
        return _lost(Rejected(record.source, record.where, record.id, bad.reason, bad.detail))
    try:
        picture, panels = opened(record.image, figure, settings)
    except BadRecordError as bad:
        when = BEFORE_WORDS if may_be_cut(figure.marked, settings.panels) else AFTER_WORDS
        return [_said(words_of(figure)) | {"lost": when, "reason": str(bad.reason), "detail": printable(bad.detail)}]
    rows = []
    for place, panel in enumerate(panels):
        words, own = words_of(figure, panel.label, panel.caption), piece(picture, panel)
        looks = _seen(image_facts(own.image, words.named)) | stored(store(own, settings.max_side))
        rows.append(_said(words) | looks | {"place": place})
    return rows


def chosen(row: Mapping[str, Any], settings: CurateSettings) -> dict[str, Any] | Rejected | LeftOut | None:
    """A row of PAIRS without its image, from one of KNOWN, or why the pair is not wanted.

    A figure that is refused with all its panels is told once, for the first of them; for the others it is None.
    """
    if row["lost"] == LEFT_OUT:
        return LeftOut(row["source"], row["left_out"])
    if row["lost"] == AT_ONCE:
        return _refused(row, row["id"], _again(row))
    words = _words(row)
    try:
        check_figure(words.figure, settings)
    except BadRecordError as bad:
        return None if row["place"] else _refused(row, row["figure_id"], bad)
    try:
        return _pair(row, words, settings)
    except BadRecordError as bad:
        return _refused(row, row["id"], bad)


def _pair(row: Mapping[str, Any], words: Words, settings: CurateSettings) -> dict[str, Any]:
    verdict = None if row["lost"] == BEFORE_WORDS else judged(words, settings)
    if verdict is None or row["lost"]:
        raise _again(row)
    if looks_at_images(settings.filters):
        signs = GraphicSigns(row["paper"], row["colours"], row["lines"])
        size = row["own_width"], row["own_height"]
        check_image(KnownImage(size, row["contrast"], signs, words.named), settings.filters)
    told = {name: row[name] for name in PAIRS.names if name in row and name != "image"}
    told["language"] = row["language"] if wants_language(settings) else ""
    told["caption_mention"] = row["caption_mention"] if settings.captions.mention else ""
    return told | decided(words.figure, verdict, settings)


def raw_caption(record: Record) -> str:
    """The beginning of it as the source has it, for people to look at; nothing where it is no text."""
    try:
        return as_text(record.caption)[:MAX_SHOWN]
    except BadRecordError:
        return ""


def _lost(one: Rejected) -> list[dict[str, Any]]:
    text = {name: printable(getattr(one, name)) for name in ("source", "where", "id", "reason", "detail")}
    return [text | {"lost": AT_ONCE}]


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
    signs, (width, height) = facts.signs, facts.size
    looks = {"contrast": facts.contrast, "paper": signs.paper, "colours": signs.colours, "lines": signs.lines}
    return {"own_width": width, "own_height": height} | looks


def _words(row: Mapping[str, Any]) -> Words:
    """The words that a row of KNOWN was made from; marks of panels have done their part and are gone."""
    text = {name: row[name] for name in TEXT} | {"id": row["figure_id"]}
    told = row["modality_stated"], tuple(row["label_list"]), row["caption_mention"], row["language"]
    vote = Vote(row["voted"], row["trust"]) if row["voted"] else None
    return Words(Figure(text, row["caption"], row["caption"], *told), row["panel"], row["caption"], vote)
