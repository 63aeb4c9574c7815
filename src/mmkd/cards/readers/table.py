"""Tables with a row per sample."""

import os
from collections.abc import Iterator
from pathlib import Path

from mmkd.cards.array_images import ArrowImage
from mmkd.cards.card import Card
from mmkd.cards.layouts import RowKeys, TableLayout
from mmkd.cards.readers.cells import Row
from mmkd.cards.readers.events import event_meanings
from mmkd.cards.readers.rows import rows_of, samples_of
from mmkd.cards.readers.tables import file_inside
from mmkd.cards.samples import FileImage, ImageRef, Sample, ScanImage, Split
from mmkd.folders.regular import irregular
from mmkd.images.nifti import NIFTI_SUFFIXES, SliceKeys


def read_table(card: Card, layout: TableLayout) -> Iterator[Sample]:
    """The rows that belong to the data set, table after table."""
    tables: list[tuple[Split | None, Path]] = [*layout.splits.items()] if layout.path is None else [(None, layout.path)]
    rows = [(split, path, number, row) for split, path in tables for number, row in rows_of(card, layout, path)]
    events = event_meanings(card, layout, [row for *_, row in rows])
    for split, path, number, row in rows:
        pictures = _pictures(card, layout, row, layout.images or path.parent)
        yield from samples_of(card, layout, row, f"{split}/{number}" if split else number, split, pictures, events)


def _pictures(card: Card, layout: TableLayout, row: Row, folder: Path) -> list[ImageRef]:
    if not row.has("image"):
        return []
    inside = row.values.get(row.columns.get("image", "image"))
    return [inside] if isinstance(inside, ArrowImage) else [image_file(card, layout, row, folder, row.needed("image"))]


def image_file(card: Card, layout: RowKeys, row: Row, folder: Path, name: str) -> ImageRef:
    """A picture, DICOM file, NIfTI volume or folder of slices. Raises DataError when it is not below the folder or
    `root`."""
    path = file_inside(folder, name, row.place, layout.root)
    if not os.path.isdir(path):
        path = existing_file(row, folder, name, "image file", layout.root)
        if not path.name.lower().endswith(NIFTI_SUFFIXES):
            return FileImage(path)
    return ScanImage(path, SliceKeys(axis=layout.axis, window=layout.window), card.modality)


def existing_file(row: Row, folder: Path, name: str, what: str, root: Path | None) -> Path:
    """As `image_file`, of any kind."""
    path = file_inside(folder, name, row.place, root)
    if not os.path.isfile(path):  # Path.is_file() raises for names that are too long
        kind = irregular(path)
        raise row.error(f"{path}: {kind}; expected a regular file" if kind else f"no {what} {path}")
    return path
