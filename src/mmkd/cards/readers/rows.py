"""From a row of a table to a sample: what tables of pictures and tables of slides have in common."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmkd.cards.answers import YES_NO, normal_answer
from mmkd.cards.array_images import ArrowImage
from mmkd.cards.card import Card
from mmkd.cards.layouts import RowKeys
from mmkd.cards.readers.cells import BRACES, Row
from mmkd.cards.readers.events import has_outcome
from mmkd.cards.readers.splits import row_split
from mmkd.cards.readers.tables import table_rows
from mmkd.cards.samples import ImageRef, Question, Sample, Split, Survival
from mmkd.errors import DataError
from mmkd.reasons import BadRecordError
from mmkd.tables.sections import chosen_sections
from mmkd.tables.values import as_name, as_text, caption_cell, captions_in, matches, told_cell


def rows_of(card: Card, layout: RowKeys, path: Path) -> Iterator[tuple[str, Row]]:
    """The rows that belong to the data set, each with its number (from 1) among all rows, as text.

    Raises DataError at the end when no row had a column that the card names: a misspelt one would be lost in silence.
    """
    found: dict[str, None] = {}
    for number, (place, values) in enumerate(table_rows(path, layout.declared), start=1):
        found |= dict.fromkeys(values)
        if matches(values, layout.include):
            yield str(number), Row(values, f"{card.id}: {place}", layout.columns)
    by_columns = layout.sections if "caption" not in layout.columns and "caption" not in found else ()
    lost = [name for name in (*_named_columns(card, layout), *by_columns) if name not in found]
    if lost and found:
        raise DataError(f"{card.id}: {path.name} has no column {lost[0]!r}; found: {', '.join(map(str, found))}")


def _named_columns(card: Card, layout: RowKeys) -> list[str]:
    plain = [column for column in layout.columns.values() if not BRACES.search(column)]
    return [*layout.include, *plain, *card.subgroups, *_covariates(card)]


def _covariates(card: Card) -> list[str]:
    return list(dict.fromkeys(column for columns in card.covariates.values() for column in columns))


def sample_of(
    card: Card,
    layout: RowKeys,
    row: Row,
    number: str,
    split: Split | None,
    images: Sequence[ImageRef],
    bags: Mapping[str, Path] | None = None,
    events: Mapping[str, bool] | None = None,
) -> Sample:
    """The sample of a row with its pictures. number: its id where the table has none. split: where that is settled.

    events: as `event_meanings` reads them from the whole table.
    """
    name = row.needed("id") if row.has("id") else number
    group = _group(row)
    return Sample(
        id=name,
        images=tuple(images),
        split=split or row_split(layout, row, group or name),
        labels=_labels(card, layout, row),
        group=group,
        caption=_caption(layout, row),
        question=_question(layout, row),
        survival=_survival(card, layout, row, events or {}),
        covariates={column: row.number(column) for column in _covariates(card)},
        facts={column: row.text(column) for column in card.subgroups},
        bags=bags or {},
    )


def samples_of(
    card: Card,
    layout: RowKeys,
    row: Row,
    number: str,
    split: Split | None,
    images: Sequence[ImageRef],
    events: Mapping[str, bool],
) -> Iterator[Sample]:
    """As `sample_of`; one of each caption where the card takes all of a list."""
    sample = sample_of(card, layout, row, number, split, images, events=events)
    listed = _reported(layout, row)
    captions = _captions(layout, row, listed) if isinstance(listed, list) else []
    if len(captions) < 2:
        yield sample
        return
    for place, caption in enumerate(captions):
        yield replace(sample, id=f"{sample.id}/{place}", caption=caption, group=sample.group or sample.id)


def _caption(layout: RowKeys, row: Row) -> str | None:
    value = _reported(layout, row)
    if value is None or value != value or (isinstance(value, str) and not layout.sections):
        text = row.field("caption")
        return text if text and caption_cell(text) is not None else None
    return _captions(layout, row, value)[0] or None


def _reported(layout: RowKeys, row: Row) -> Any:
    """The cell of the caption; of a report only the sections that the card asks for."""
    value = row.values.get(layout.columns.get("caption", "caption"))
    if value is None:
        value = {name: row.values[name] for name in layout.sections if name in row.values} or None
    try:
        return chosen_sections(value, layout)[0]
    except BadRecordError as error:
        raise row.error(error.detail) from error


def _captions(layout: RowKeys, row: Row, value: object) -> list[str]:
    try:
        return [as_text(caption).strip() for caption in captions_in(value, layout.captions)]
    except BadRecordError as error:
        raise row.error(error.detail) from error


def _group(row: Row) -> str:
    """Questions are grouped by their image, which Parquet tables hold as bytes. A word for a missing value is no group,
    else all rows without one would be of one patient."""
    value = row.values.get(row.columns.get("group", "group"))
    return value.digest() if isinstance(value, ArrowImage) else as_name(told_cell(row.field("group")))


def _labels(card: Card, layout: RowKeys, row: Row) -> tuple[int, ...]:
    if not card.classes:
        return ()
    if layout.one_hot:
        flags = [_flag(card, row, entry.marker) for entry in card.classes]
        labels = tuple(label for label, flag in enumerate(flags) if flag)
        if len(labels) != 1 and not card.multi_label:
            raise row.error(f"{len(labels)} of the classes' columns are 1, expected one; or set multi_label")
        return labels
    markers = {entry.marker: label for label, entry in enumerate(card.classes)}
    if not card.multi_label:
        return (_label(markers, row, row.needed("label")),)
    if not row.has("label"):
        row.needed("label")
    values = [value.strip() for value in row.field("label").split(layout.separator)]
    named = [value for value in values if value and value not in layout.unlabelled]
    return tuple(sorted({_label(markers, row, value) for value in named}))


def _label(markers: Mapping[str, int], row: Row, marker: str) -> int:
    if marker not in markers:
        raise row.error(f"label {marker!r} is no class; expected {', '.join(markers)}")
    return markers[marker]


def _flag(card: Card, row: Row, column: str) -> bool:
    """Empty cells of multi-label tables mean that the class was not found."""
    if column not in row.values or not card.multi_label:
        row.cell(column)
    number = row.number(column)
    if number not in (0, 1) and not math.isnan(number):
        raise row.error(f"column {column!r} holds {row.text(column)!r}, expected 0 or 1")
    return number == 1


def _question(layout: RowKeys, row: Row) -> Question | None:
    if not row.has("question"):
        return None
    answer, kind = row.needed("answer"), row.field("answer_type")
    closed = _is_closed(layout, kind) if kind else normal_answer(answer) in YES_NO
    return Question(row.needed("question"), answer, closed)


def _is_closed(layout: RowKeys, kind: str) -> bool:
    return kind.casefold() in {value.strip().casefold() for value in layout.closed}


def _survival(card: Card, layout: RowKeys, row: Row, events: Mapping[str, bool]) -> Survival | None:
    """None where no outcome is read, or the patient was not followed up."""
    if not has_outcome(card, row):
        return None
    time = row.number(layout.columns.get("time", "time"))
    if not time >= 0:
        raise row.error(f"time {time:g} is no time of follow-up, expected 0 or more")
    return Survival(time, events[row.needed("event")])
