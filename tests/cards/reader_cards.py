"""Cards, tables and pictures for the tests of the readers."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from mmkd.cards.card import Card

CLASSES = [{"name": "right", "prompts": ["r"]}, {"name": "left side", "folder": "left", "prompts": ["l"]}]
Rows = Sequence[Mapping[str, Any]]


def picture(path: Path, colour: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (colour, 0, 0)).save(path)
    return path


def card(layout: Mapping[str, Any], classes: Sequence[Mapping[str, Any]] = (), **facts: Any) -> Card:
    common = {"id": "set", "modality": "ct", "tasks": ["any"], "licence": "CC0"}
    return Card.model_validate({**common, **facts, "layout": layout, "classes": classes})


def write_table(path: Path, rows: Rows) -> Path:
    """In the format of the path's suffix."""
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".arrow":
        found = pa.Table.from_pylist(list(rows))
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, found.schema) as writer:
            writer.write_table(found)
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(list(rows)))
    else:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="," if path.suffix == ".csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    return path


def table(path: Path, rows: Rows, classes: Sequence[Mapping[str, Any]] = (), **more: Any) -> Card:
    """The card of a table that is written to `path`; keys of the layout, or of the card where they are the card's."""
    facts = {key: more.pop(key) for key in ("multi_label", "subgroups", "covariates") if key in more}
    return card({"reader": "table", "path": write_table(path, rows), **more}, classes, **facts)
