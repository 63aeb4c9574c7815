"""Whole slides, one row each in a table."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmkd.cards.card import Card
from mmkd.cards.layouts import SlidesLayout
from mmkd.cards.readers.cells import Row
from mmkd.cards.readers.events import event_meanings
from mmkd.cards.readers.folders import pictures_below
from mmkd.cards.readers.rows import rows_of, sample_of
from mmkd.cards.readers.table import existing_file, image_file
from mmkd.cards.readers.tables import file_inside
from mmkd.cards.samples import FileImage, ImageRef, Sample


def read_slides(card: Card, layout: SlidesLayout) -> Iterator[Sample]:
    """The slides of the table with their tiles, ready features, or both."""
    folder = layout.images or layout.path.parent
    rows = list(rows_of(card, layout, layout.path))
    events = event_meanings(card, layout, [row for _, row in rows])
    for number, row in rows:
        tiles = _tiles(card, layout, row, folder)
        bags = {
            encoder: existing_file(row, folder, row.filled(template), "bag", layout.root)
            for encoder, template in layout.bags.items()
        }
        if not tiles and not bags:
            raise row.error(
                "this slide has no tiles and no features; name tiles, tile_folder, slide or bags in the layout"
            )
        yield sample_of(card, layout, row, number, None, tiles, bags, events)


def _tiles(card: Card, layout: SlidesLayout, row: Row, folder: Path) -> Sequence[ImageRef]:
    if layout.slide:
        from mmkd.images.slide_tiles import tile_slide

        return tile_slide(existing_file(row, folder, row.filled(layout.slide), "slide", layout.root), card.tiles)
    if layout.tile_folder:
        return _tiles_of_folder(row, file_inside(folder, row.filled(layout.tile_folder), row.place, layout.root))
    if not row.has("tiles"):
        return []
    names = _names(row, layout.columns.get("tiles", "tiles"))
    return [image_file(card, layout, row, folder, name) for name in names]


def _tiles_of_folder(row: Row, folder: Path) -> list[ImageRef]:
    tiles: list[ImageRef] = [FileImage(path) for path in pictures_below(folder, [])] if os.path.isdir(folder) else []
    if not tiles:
        raise row.error(f"no folder {folder} with the tiles of this slide")
    return tiles


def _names(row: Row, column: str) -> list[str]:
    """Of a list (CSV has it as JSON text) of names, or of tables with the key `image`."""
    value = row.values.get(column)
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _parsed(row, column, value)
    tiles = value if isinstance(value, list) else []
    names = [tile.get("image") if isinstance(tile, dict) else tile for tile in tiles]
    named = [name for name in names if isinstance(name, str) and name]
    if not named or len(named) < len(names):
        raise row.error(f"column {column!r} holds no list of images")
    return named


def _parsed(row: Row, column: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise row.error(f"column {column!r} is not readable as a list ({error})") from error
