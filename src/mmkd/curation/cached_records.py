"""The rows of a cached shard: all facts that decisions look at, of every record of a shard, wanted or not.

`decide` gives the same pairs and rejections from them as from the records of the source, by any settings of which
`reading_settings` are the same as of those they were read by.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mmkd.curation.facts.dropped import with_caption_dropped
from mmkd.curation.facts.image import GraphicSigns, ImageFacts
from mmkd.curation.facts.pairs import (
    TEXT,
    FigureText,
    Pair,
    PairText,
    SourceRecord,
    caption_of,
    known,
    opened,
    pairs_of,
    usable,
)
from mmkd.curation.ledger.examples import EACH, caption_start, thumbnail
from mmkd.curation.modality.votes import Vote
from mmkd.curation.panels.gutters import panel_boxes
from mmkd.curation.panels.split import CUTTING, WHOLE, check_compound
from mmkd.curation.records.record import Excluded, Found, Noted, Record, Rejected, printable
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.shards import PAIRS
from mmkd.images.store import check_size, claimed_size
from mmkd.reasons import BadRecordError, Reason

DECIDED = ("modality", "modality_evidence", "modality_confidence", "labels")
AT_ONCE, AFTER_CAPTION, AT_PICTURE, EXCLUDED = "at once", "after caption", "at picture", "excluded"
NOTED = "noted"
"""Where reading a record that gave no pair failed: before its caption was known; when only that was; when all its text
was. The last rows may only say how many records `include` does not select, and of how many files a detail is noted."""

# failed, reason, detail: of a record without a pair. excluded: how many records or files one of the last rows is
# for. place: which pair of its figure. vote, trust: of the caption. claimed: the picture's size by its header, null
# where even that is not to be read; own: the pair's, upright. panels_seen, panels_labelled: of the whole figure, by its
# picture and by its caption.
CACHED = pa.schema(
    [field for field in PAIRS if field.name not in DECIDED]
    + [(name, pa.string()) for name in ("figure_id", "vote", "failed", "reason", "detail")]
    + [("excluded", pa.int64()), ("trust", pa.float64()), ("label_list", pa.list_(pa.string()))]
    + [(name, pa.int32()) for name in ("place", "own_width", "own_height", "colours", "lines")]
    + [(name, pa.int32()) for name in ("claimed_width", "claimed_height", "panels_seen", "panels_labelled")]
    + [(name, pa.float64()) for name in ("contrast", "paper")]
)
Row = Mapping[str, Any]


def reading_settings(settings: CurateSettings) -> CurateSettings:
    """What a cached shard is read by: settings that can be decided on later, from its rows, are as open as they can be.

    Where figures are cut, the sizes of panels and the length of sub-captions decide about the cut and are left.
    """
    if settings.panels in CUTTING:
        return settings.model_copy(update={"panels": "split"})
    captions = settings.captions.model_copy(update={"references": "keep"})
    return settings.model_copy(update={"panels": "keep", "min_side": 1, "min_caption": 1, "captions": captions})


def rows_to_cache(found: Iterable[Found], settings: CurateSettings) -> Iterator[dict[str, Any]]:
    """Rows of CACHED, one a pair, or one for a record that gives none. settings: `reading_settings`.

    Of the first records that fail for a reason a thumbnail is kept for the ledger, which need not read again.
    """
    shown: Counter[str] = Counter()
    excluded: Counter[str] = Counter()
    noted: Counter[tuple[str, str]] = Counter()
    for one in found:
        if isinstance(one, Noted):
            noted[one.source, one.what] += one.files
            continue
        if isinstance(one, Excluded):
            excluded[one.source] += one.records
            continue
        rows = [_rejected_row(one)] if isinstance(one, Rejected) else rows_of(one, settings)
        if isinstance(one, Record) and rows[0]["failed"] and shown[rows[0]["reason"]] < EACH:
            shown[rows[0]["reason"]] += 1
            rows = [{"caption": caption_start(one), **rows[0], "image": thumbnail(one.image)}]
        yield from rows
    yield from ({"source": name, "failed": EXCLUDED, "excluded": number} for name, number in excluded.items())
    for (name, what), files in noted.items():
        yield {"source": name, "failed": NOTED, "detail": what, "excluded": files}


def rows_of(record: Record, settings: CurateSettings) -> list[dict[str, Any]]:
    """As `rows_to_cache`."""
    record = with_caption_dropped(record, settings.drop_captions)
    facts = SourceRecord(record)
    try:
        text = facts.text(settings)
    except BadRecordError as bad:
        return [_row_without_text(record, bad)]
    try:
        picture = opened(record, settings)
    except BadRecordError as bad:
        failed = {"failed": AT_PICTURE, "reason": str(bad.reason), "detail": printable(bad.detail)}
        return [_text_columns(text.whole, 0) | failed | _claimed(record.image, settings)]
    boxes = panel_boxes(picture.image)
    size = {"panels_seen": len(boxes), **_size("claimed", picture.claimed)}
    pairs = pairs_of(picture, text, settings, boxes)
    return [
        _text_columns(pair.text, place) | _image_columns(pair.image) | size | pair.stored()
        for place, pair in enumerate(pairs)
    ]


def cached_records(rows: Iterable[Row]) -> "Iterator[CachedRecord | Rejected | Excluded | Noted]":
    """What the source of the shard gives, from its rows in their order."""
    figure: list[Row] = []
    first = 0
    for number, row in enumerate(rows):
        if row["place"]:
            figure.append(row)
            continue
        if figure:
            yield CachedRecord(figure, first)
        figure, first = [], number
        if row["failed"] == EXCLUDED:
            yield Excluded(row["source"], row["excluded"])
        elif row["failed"] == NOTED:
            yield Noted(row["source"], row["detail"], row["excluded"])
        elif row["failed"] == AT_ONCE:
            yield Rejected(row["source"], row["where"], row["id"], Reason(row["reason"]), row["detail"])
        else:
            figure = [row]
    if figure:
        yield CachedRecord(figure, first)


@dataclass(frozen=True)
class CachedRecord:
    """Facts of a record from its rows in a cached shard. first: the number of the first of them."""

    rows: Sequence[Row]
    first: int

    @property
    def origin(self) -> tuple[str, str, str]:
        row = self.rows[0]
        return row["source"], row["where"], row["figure_id"]

    def text(self, settings: CurateSettings) -> FigureText:
        row = self.rows[0]
        # whether the source keeps pictures without captions is settled: it names the shard, with drop_captions
        refused = row["failed"] == AFTER_CAPTION and row["reason"] == Reason.EMPTY_CAPTION
        caption = usable(row["caption"], row["caption_original"], settings, not refused)
        if row["failed"] == AFTER_CAPTION:
            raise _error(row)
        columns = {name: row[name] for name in TEXT} | {"id": row["figure_id"]}
        mention = row["caption_mention"]
        stated, labels = row["modality_stated"], tuple(row["label_list"])
        text = FigureText(columns, row["caption"], caption, stated, labels, mention, row["grouped"])
        known(text, mention=mention, panels_labelled=row["panels_labelled"])
        return known(text, language=row["language"], vote=_vote(row)) if caption == row["caption"] else text

    def pairs(self, text: FigureText, settings: CurateSettings) -> list[Pair]:
        row = self.rows[0]
        if row["claimed_width"] is not None:
            check_size((row["claimed_width"], row["claimed_height"]), settings.min_side, settings.max_side)
        if row["failed"]:
            raise _error(row)
        if row["panel"] in ("", WHOLE):
            check_compound(row["panels_seen"], row["panels_labelled"], settings.panels)
            return [_pair(text, text.caption, row, self.first)]
        return [_pair(text, row["caption"], row, self.first + place) for place, row in enumerate(self.rows)]


def _pair(figure: FigureText, caption: str, row: Row, number: int) -> Pair:
    text = PairText(figure, row["panel"], caption)
    if caption == row["caption"]:
        known(text, vote=_vote(row), caption_group=row["caption_group"])
    signs = GraphicSigns(row["paper"], row["colours"], row["lines"])
    image = known(ImageFacts((row["own_width"], row["own_height"])), contrast=row["contrast"], signs=signs)
    columns = {name: row[name] for name in ("width", "height", "sha256", "phash", "thumbnail")} | {"row": number}
    return Pair(text, image, lambda: columns)


def _rejected_row(one: Rejected) -> dict[str, Any]:
    text = {name: printable(getattr(one, name)) for name in ("source", "where", "id", "reason", "detail")}
    return text | {"failed": AT_ONCE}


def _row_without_text(record: Record, bad: BadRecordError) -> dict[str, Any]:
    """With the caption, where it was not the caption: a stricter `min_caption` rejects the record for that first."""
    row = _rejected_row(Rejected(record.source, record.where, record.id, bad.reason, bad.detail))
    try:
        original, marked = caption_of(record)
    except BadRecordError:
        return row
    caption = {"figure_id": row["id"], "place": 0, "caption": marked, "caption_original": original}
    return row | caption | {"failed": AFTER_CAPTION}


def _text_columns(text: PairText, place: int) -> dict[str, Any]:
    figure, vote = text.figure, text.vote
    own = {
        "id": text.id,
        "figure_id": figure.columns["id"],
        "grouped": figure.grouped,
        "place": place,
        "caption": text.caption,
        "caption_group": text.caption_group,
        "caption_mention": figure.mention,
        "language": figure.language,
        "label_list": list(figure.labels),
        "modality_stated": figure.modality,
        "panel": text.panel,
        "panels_labelled": figure.panels_labelled,
        "vote": vote.modality if vote else "",
        "trust": vote.trust if vote else 0.0,
        "failed": "",
    }
    return figure.columns | own


def _image_columns(facts: ImageFacts) -> dict[str, Any]:
    signs = facts.signs
    own = {"contrast": facts.contrast, "paper": signs.paper, "colours": signs.colours, "lines": signs.lines}
    return _size("own", facts.size) | own


def _claimed(image: bytes, settings: CurateSettings) -> dict[str, Any]:
    try:
        return _size("claimed", claimed_size(image, settings.max_pixels))
    except BadRecordError:
        return {}


def _size(name: str, size: tuple[int, int]) -> dict[str, Any]:
    return {f"{name}_width": size[0], f"{name}_height": size[1]}


def _vote(row: Row) -> Vote | None:
    return Vote(row["vote"], row["trust"]) if row["vote"] else None


def _error(row: Row) -> BadRecordError:
    return BadRecordError(Reason(row["reason"]), row["detail"])
