"""Small pictures of what curation dropped, taken while its parts and its sources are at hand.

Of what was dropped among checked pairs the picture stands in the part; of what failed a check the shard is read once
more, for the first records of each reason only, unless the part is a kept one, which has them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkd.curation.known_rows import MAX_SHOWN, loosest, raw_caption, rows_of_record
from mmkd.curation.ledger.examples import EACH, Example, thumbnail
from mmkd.curation.ledger.rows import first_rejected
from mmkd.curation.ledger.steps import SOURCE, step_of
from mmkd.curation.parts import Part
from mmkd.curation.records.record import Record
from mmkd.curation.settings.curate import CurateSettings
from mmkd.folders.arrow import read_shard, write_shard

DROPPED = "dropped.arrow"
EXAMPLES = pa.schema({"group": pa.string(), "id": pa.string(), "caption": pa.string(), "jpeg": pa.binary()})

Key = tuple[str, str, str]
"""(source, place in it, id) of a record or a panel."""
Wanted = dict[Key, str]
"""What was dropped -> why."""


def write_dropped(parts: Sequence[Part], folder: Path, settings: CurateSettings, each: int = EACH) -> None:
    """Write `dropped.arrow`: of each reason the first `each` records that have a picture. `folder` has the list of all
    rejected ones already."""
    wanted = _first_of_each(folder, each)
    found: dict[Key, Example] = {}
    for part in parts:
        if len(found) == len(wanted):
            break
        found.update(_examples_in(part, wanted, settings))
    chosen = sorted((found[key] for key in wanted if key in found and found[key].jpeg), key=lambda one: one.group)
    columns = {name: [getattr(one, name) for one in chosen] for name in EXAMPLES.names}
    write_shard(folder / DROPPED, EXAMPLES, [pa.table(columns, schema=EXAMPLES)])


def dropped_examples(folder: Path) -> list[Example]:
    """What `write_dropped` wrote, by reason; none where it did not."""
    path = folder / DROPPED
    return [Example(**row) for row in read_shard(path).to_pylist()] if path.is_file() else []


def _first_of_each(folder: Path, each: int) -> Wanted:
    """Of each reason but those of records that the source could not give."""
    rows = first_rejected(folder, each)
    return {(r["source"], r["where"], r["id"]): r["reason"] for r in rows if step_of(r["reason"]) != SOURCE}


def _examples_in(part: Part, wanted: Wanted, settings: CurateSettings) -> Iterator[tuple[Key, Example]]:
    pairs = read_shard(part.pictures)
    missing = {key for _, key in _places(read_shard(part.rejected), wanted)}
    places = _places(pairs, wanted)
    if part.kept is not None:  # of a figure that was refused with its panels, the first of them is shown
        named = pairs.select(("source", "where", "figure_id")).rename_columns(("source", "where", "id"))
        places += [(row, key) for row, key in _places(named, wanted) if key in missing]
    for row, key in places[::-1]:  # the first row of a key counts
        told = pairs.slice(row, 1).select(("caption", "image")).to_pylist()[0]
        if told["image"]:  # a kept part has a row, but no picture, of most that could not be decoded
            missing.discard(key)
            yield key, _example(wanted, key, told["caption"], told["image"])
    for record in part.shard.records() if missing and part.kept is None else iter(()):
        if isinstance(record, Record):
            yield from ((key, _shown(wanted, key, record, settings)) for key in _of(record, missing))
            missing -= _of(record, missing)
        if not missing:
            return


def _of(record: Record, keys: set[Key]) -> set[Key]:
    """Those of the record and of its panels."""
    here = {key for key in keys if key[:2] == (record.source, record.where)}
    return {key for key in here if key[2] == record.id or key[2].startswith(f"{record.id}#")}


def _shown(wanted: Wanted, key: Key, record: Record, settings: CurateSettings) -> Example:
    if key[2] != record.id:
        for row in rows_of_record(record, loosest(settings)):
            if row["id"] == key[2]:
                return _example(wanted, key, row["caption"], row["image"])
    return _example(wanted, key, raw_caption(record), record.image)


def _example(wanted: Wanted, key: Key, caption: str, image: bytes) -> Example:
    return Example(wanted[key], key[2], caption[:MAX_SHOWN], thumbnail(image))


def _places(table: pa.Table, wanted: Wanted) -> list[tuple[int, Key]]:
    """Row and key of the wanted records; most tables hold none, so ids are compared first."""
    ids = pa.array([identity for _, _, identity in wanted], pa.string())
    rows = np.flatnonzero(np.asarray(pc.is_in(table.column("id"), ids)))
    told = table.select(("source", "where", "id")).take(pa.array(rows)).to_pylist()
    keys = [(one["source"], one["where"], one["id"]) for one in told]
    return [(int(row), key) for row, key in zip(rows, keys, strict=True) if key in wanted]
