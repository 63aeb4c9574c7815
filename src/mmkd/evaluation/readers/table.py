"""Tables with a row per sample."""

from collections.abc import Iterator
from typing import get_args

from mmkd.corpus.records import matches
from mmkd.errors import DataError
from mmkd.evaluation.card import Card
from mmkd.evaluation.layouts import SampleField, TableLayout
from mmkd.evaluation.readers.tables import cell, file_inside, table_rows
from mmkd.evaluation.samples import FileImage, Sample


def read_table(card: Card, layout: TableLayout) -> Iterator[Sample]:
    """The rows that belong to the data set."""
    labels = {entry.marker: label for label, entry in enumerate(card.classes)}
    columns = {name: layout.columns.get(name, name) for name in get_args(SampleField)}
    if layout.path is None:
        raise DataError(f"{card.id}: no table")
    for place, row in table_rows(layout.path):
        if not matches(row, layout.only):
            continue
        image = file_inside(layout.path.parent, cell(row, columns["image"], place, card.id), place)
        if not image.is_file():
            raise DataError(f"{card.id}: {place}: no image file {image}")
        marker = cell(row, columns["label"], place, card.id) if labels else ""
        if marker not in labels and labels:
            raise DataError(f"{card.id}: {place}: label {marker!r} is no class; expected {', '.join(labels)}")
        yield Sample(
            id=cell(row, columns["id"], place, card.id),
            images=(FileImage(image),),
            labels=(labels[marker],) if labels else (),
            caption=str(row.get(columns["caption"]) or "").strip() or None,
            group=str(row.get(columns["group"]) or ""),
        )
