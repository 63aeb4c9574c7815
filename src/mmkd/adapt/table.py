"""The labels of pictures out of a table, checked: what is wrong is named with its rows and counts."""

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmkd.cards.readers.tables import UNDECLARED, table_rows
from mmkd.errors import ConfigError, DataError
from mmkd.reasons import BadRecordError
from mmkd.tables.dialect import Declared
from mmkd.tables.guess import plain
from mmkd.tables.values import as_name, as_text, is_container

COLUMNS = {
    "image": ("image", "image_path", "path", "file", "filename", "file_name", "filepath", "img"),
    "label": ("label", "class", "diagnosis", "finding", "target"),
    "group": ("group", "patient", "patient_id", "patientid", "subject_id", "case", "case_id"),
    "split": ("split",),
}
"""Ours -> what tables call it, in lower case; the first that is there is taken."""
SPLITS = {"train": "train", "training": "train", "val": "train", "valid": "train", "validation": "train"} | {
    "test": "test",
    "testing": "test",
    "": "train",
}
SHOWN = 5
ALIKE = 0.85  # as difflib has it: from here on, a rare label may be another one with a typing error
RARE = 0.05  # of the other's count


@dataclass(frozen=True)
class Row:
    """image: as it stands in the table. group: "" where unknown. split: train or test; val is learnt from."""

    place: str
    image: str
    label: str
    group: str
    split: str


@dataclass(frozen=True)
class Table:
    """rows and the columns they are from. notes: what was done with the rows, for the reader."""

    path: Path
    columns: Mapping[str, str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    @property
    def labels(self) -> list[str]:
        return sorted({row.label for row in self.rows})


def read_table(
    path: Path, named: Mapping[str, str], classes: Sequence[str] = (), declared: Declared = UNDECLARED
) -> Table:
    """All rows. named: our column -> the table's, where its name is another than `COLUMNS` has. declared: how a text
    table is written.

    classes: those that there are; a label that is none of them is an error. Without, the labels are the classes, and
    spellings that are suspiciously alike are an error. Raises ConfigError and DataError.
    """
    found = list(table_rows(path, declared))
    if not found:
        raise DataError(f"{path}: no row in it; expected a row for each labelled picture")
    columns = _columns(path, list(found[0][1]), named)
    rows = [_row(place, values, columns) for place, values in found]
    _check_labels(path, rows)
    if classes:
        rows = _of_classes(path, rows, classes)
    else:
        _check_spelling(path, rows)
    val = sum(str(values.get(columns.get("split", ""), "")).lower().startswith("val") for _, values in found)
    notes = [f"{val:,} rows of the split val are learnt from, like train: inner folds choose"] if val else []
    return Table(path, columns, rows, notes)


def _columns(path: Path, there: Sequence[str], named: Mapping[str, str]) -> dict[str, str]:
    lower = {plain(name): name for name in reversed(there)}
    columns = {}
    for ours, usual in COLUMNS.items():
        if wanted := named.get(ours):
            if wanted not in there:
                raise ConfigError(f"{path}: no column {wanted!r} for the {ours}; it has {', '.join(there)}")
            columns[ours] = wanted
        elif known := [lower[name] for name in usual if name in lower]:
            columns[ours] = known[0]
    for needed in ("image", "label"):
        if needed not in columns:
            raise ConfigError(
                f"{path}: no column of {needed}s found among {', '.join(there)}; name it with --column {needed}=NAME"
            )
    return columns


def _row(place: str, values: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    def text(ours: str) -> str:
        value = values.get(columns.get(ours, ""))
        try:
            return as_name(value) if ours in ("label", "group") else as_text(value).strip()
        except BadRecordError as bad:
            raise DataError(f"{place}: {ours}: {bad.detail}") from None

    if not isinstance(values.get(columns["image"]), str):
        kind = "a list" if is_container(values.get(columns["image"])) else "no path"
        raise DataError(f"{place}: {kind} in the column {columns['image']!r}, expected the path of a picture")
    split = SPLITS.get(text("split").lower())
    if split is None:
        raise DataError(f"{place}: split {text('split')!r}, expected train, val or test")
    return Row(place, text("image"), text("label"), text("group"), split)


def _check_labels(path: Path, rows: Sequence[Row]) -> None:
    silent = [row.place for row in rows if row.label.lower() in ("", "nan", "none", "null", "n/a", "na")]
    if silent:
        raise DataError(
            f"{path}: {len(silent):,} of {len(rows):,} rows have no label ({_some(silent)}); label them, or delete them"
        )
    of_image = defaultdict(set)
    for row in rows:
        of_image[row.image].add(row.label)
    twice = [f"{image} as {' and '.join(sorted(found))}" for image, found in of_image.items() if len(found) > 1]
    if twice:
        raise DataError(f"{path}: {len(twice):,} pictures have several labels ({_some(twice)}); leave one of each")


def _of_classes(path: Path, rows: Sequence[Row], classes: Sequence[str]) -> list[Row]:
    known = {name.casefold(): name for name in classes}
    strange = Counter(row.label for row in rows if row.label.casefold() not in known)
    if strange:
        near = [
            f"{label!r} ({count:,}{_near(label, classes)})"
            for label, count in sorted(strange.items(), key=lambda one: -one[1])
        ]
        raise DataError(
            f"{path}: labels that are no class: {_some(near)}; the classes are {', '.join(classes)}. Correct the "
            "labels, or add a class"
        )
    return [replace(row, label=known[row.label.casefold()]) for row in rows]


def _near(label: str, classes: Sequence[str]) -> str:
    near = difflib.get_close_matches(label, classes, n=1)
    return f", is it {near[0]!r}?" if near else ""


def _check_spelling(path: Path, rows: Sequence[Row]) -> None:
    count = Counter(row.label for row in rows)
    if len(count) < 2:
        raise DataError(
            f"{path}: all {len(rows):,} rows have the label {rows[0].label!r}; expected two classes or more"
        )
    doubtful = [f"{a!r} ({count[a]:,}) and {b!r} ({count[b]:,})" for a, b in _alike(count)]
    if doubtful:
        raise DataError(
            f"{path}: labels that may be one class: {_some(doubtful)}; correct them, or if they are different classes, "
            "name all classes with --classes"
        )


def _alike(count: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    labels = sorted(count, key=lambda label: (count[label], label))
    for place, rare in enumerate(labels):
        for common in labels[place + 1 :]:
            same = "".join(rare.casefold().split()) == "".join(common.casefold().split())
            differ = [*_digits(rare)] != [*_digits(common)]  # grade 1 and grade 2 are alike, and are two classes
            few = count[rare] <= max(1, RARE * count[common])
            close = difflib.SequenceMatcher(None, rare.casefold(), common.casefold()).ratio() >= ALIKE
            if same or (few and close and not differ):
                yield rare, common


def _digits(text: str) -> Iterator[str]:
    return (character for character in text if character.isdigit())


def _some(found: Sequence[str]) -> str:
    more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    return f"{', '.join(found[:SHOWN])}{more}"
