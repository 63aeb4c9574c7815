"""Thumbnails of what curation rejected, made while its filtered shards and its sources are at hand.

Of filtered pairs that were rejected later the image is in the filtered shard; of what a filter rejected the source's
shard is read once more, for the first records of each reason only, unless it is cached, with their images.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkd.curation.facts.pairs import SourceRecord
from mmkd.curation.ledger.examples import EACH, MAX_CAPTION, Example, caption_start, thumbnail
from mmkd.curation.ledger.rows import first_rejected
from mmkd.curation.ledger.steps import SOURCE, step_of
from mmkd.curation.records.record import Record
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.shards import FilteredShard
from mmkd.folders.arrow import read_shard, write_shard

EXAMPLES_FILE = "dropped.arrow"
EXAMPLES = pa.schema({"group": pa.string(), "id": pa.string(), "caption": pa.string(), "jpeg": pa.binary()})

Key = tuple[str, str, str]
"""(source, place in it, id) of a record or a panel."""
Wanted = dict[Key, str]
"""What was rejected -> why."""


def write_rejected_examples(
    shards: Sequence[FilteredShard], folder: Path, settings: CurateSettings, each: int = EACH
) -> None:
    """Write `dropped.arrow`: of each reason the first `each` records that have a picture. `folder` has the list of all
    rejected ones already."""
    wanted = _first_of_each(folder, each)
    found: dict[Key, Example] = {}
    for shard in shards:
        if len(found) == len(wanted):
            break
        found.update(_examples_in(shard, wanted, settings))
    examples = sorted((found[key] for key in wanted if key in found and found[key].jpeg), key=lambda one: one.group)
    columns = {name: [getattr(one, name) for one in examples] for name in EXAMPLES.names}
    write_shard(folder / EXAMPLES_FILE, EXAMPLES, [pa.table(columns, schema=EXAMPLES)])


def rejected_examples(folder: Path) -> list[Example]:
    """What `write_rejected_examples` wrote, by reason; none where it did not."""
    path = folder / EXAMPLES_FILE
    return [Example(**row) for row in read_shard(path).to_pylist()] if path.is_file() else []


def _first_of_each(folder: Path, each: int) -> Wanted:
    """Of each reason but those of records that the source could not give."""
    rows = first_rejected(folder, each)
    return {(r["source"], r["where"], r["id"]): r["reason"] for r in rows if step_of(r["reason"]) != SOURCE}


def _examples_in(shard: FilteredShard, wanted: Wanted, settings: CurateSettings) -> Iterator[tuple[Key, Example]]:
    pairs = read_shard(shard.images)
    missing = {key for _, key in _places(read_shard(shard.rejected), wanted)}
    places = _places(pairs, wanted)
    if shard.cached is not None:  # of a figure that was rejected with its panels, the first of them is shown
        named = pairs.select(("source", "where", "figure_id")).rename_columns(("source", "where", "id"))
        places += [(row, key) for row, key in _places(named, wanted) if key in missing]
    for place, key in places[::-1]:  # the first row of a key counts
        row = pairs.slice(place, 1).select(("caption", "image")).to_pylist()[0]
        if row["image"]:  # a cached shard has a row, but no image, of most that could not be decoded
            missing.discard(key)
            yield key, _example(wanted, key, row["caption"], row["image"])
    for record in shard.shard.records() if missing and shard.cached is None else iter(()):
        if isinstance(record, Record):
            yield from ((key, _example_of(wanted, key, record, settings)) for key in _of(record, missing))
            missing -= _of(record, missing)
        if not missing:
            return


def _of(record: Record, keys: set[Key]) -> set[Key]:
    """Those of the record and of its panels."""
    here = {key for key in keys if key[:2] == (record.source, record.where)}
    return {key for key in here if key[2] == record.id or key[2].startswith(f"{record.id}#")}


def _example_of(wanted: Wanted, key: Key, record: Record, settings: CurateSettings) -> Example:
    if key[2] != record.id:  # of a panel, whose figure passed all checks
        facts = SourceRecord(record)
        for pair in facts.pairs(facts.text(settings), settings):
            if pair.text.id == key[2]:
                return _example(wanted, key, pair.text.caption, pair.stored()["image"])
    return _example(wanted, key, caption_start(record), record.image)


def _example(wanted: Wanted, key: Key, caption: str, image: bytes) -> Example:
    return Example(wanted[key], key[2], caption[:MAX_CAPTION], thumbnail(image))


def _places(table: pa.Table, wanted: Wanted) -> list[tuple[int, Key]]:
    """Row and key of the wanted records; most tables hold none, so ids are compared first."""
    ids = pa.array([identity for _, _, identity in wanted], pa.string())
    rows = np.flatnonzero(np.asarray(pc.is_in(table.column("id"), ids)))
    found = table.select(("source", "where", "id")).take(pa.array(rows)).to_pylist()
    keys = [(one["source"], one["where"], one["id"]) for one in found]
    return [(int(row), key) for row, key in zip(rows, keys, strict=True) if key in wanted]
