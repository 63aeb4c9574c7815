"""The samples of a data set, from the layouts data sets come in. A new one: fields in `card`, a function here."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from mmkd.corpus.records import BadRecordError, matches
from mmkd.corpus.schema import Corpus
from mmkd.corpus.sources.files import IMAGE_SUFFIXES, path_inside
from mmkd.errors import DataError
from mmkd.evaluation.card import Card, CorpusLayout, FoldersLayout, SampleField, TableLayout


@dataclass(frozen=True)
class CorpusImage:
    """An image inside a corpus folder; reads like a `Path`."""

    folder: Path
    row: int

    def read_bytes(self) -> bytes:
        return _corpus(self.folder).images([self.row])[0]

    def __str__(self) -> str:
        return f"{self.folder}, row {self.row}"


@dataclass(frozen=True)
class Sample:
    """One image and what is true of it. label: place of its class in the card. group: "" where none is declared."""

    id: str
    image: Path | CorpusImage
    label: int | None = None
    caption: str | None = None
    group: str = ""


def read_samples(card: Card) -> list[Sample]:
    """All samples of the card, in a fixed order.

    Raises DataError that says which folder, class, row or file is missing, empty, double or wrong.
    """
    samples = list(READERS[card.layout.reader](card, card.layout))
    if not samples:
        raise DataError(f"{card.id}: {card.layout.path} holds no samples{_filter(card)}")
    twice = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
    if twice:
        raise DataError(f"{card.id}: sample ids must be unique, {twice[0]!r} occurs more than once")
    labels = {sample.label for sample in samples}
    for label, entry in enumerate(card.classes):
        if label not in labels:
            raise DataError(f"{card.id}: class {entry.name!r} has no images in {card.layout.path}")
    return samples


def _filter(card: Card) -> str:
    only = card.layout.only if isinstance(card.layout, TableLayout) else {}
    return f" with {only}; check the column names and values of `only`" if only else ""


def fingerprint(card: Card, samples: list[Sample]) -> str:
    """SHA-256 over the card and over the names, labels, captions, groups and bytes of its samples."""
    total = hashlib.sha256(card.model_dump_json(exclude={"layout"}).encode())
    for sample in samples:
        total.update(repr((sample.id, sample.label, sample.caption, sample.group)).encode())
        total.update(hashlib.sha256(sample.image.read_bytes()).digest())
    return total.hexdigest()


def _folders(card: Card, layout: FoldersLayout) -> Iterator[Sample]:
    if not layout.path.is_dir():
        raise DataError(f"{card.id}: no folder {layout.path}; check the path in the card")
    groups = _groups_of_files(card, layout.groups) if layout.groups else None
    for label, entry in enumerate(card.classes):
        folder = layout.path / entry.marker
        if not folder.is_dir():
            found = ", ".join(sorted(path.name for path in layout.path.iterdir() if path.is_dir())) or "none"
            raise DataError(f"{card.id}: class {entry.name!r} has no folder {folder}; folders found: {found}")
        for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES):
            group = ""
            if groups is not None:
                group = groups.get(path.resolve(), "")
                if not group:
                    raise DataError(f"{card.id}: {layout.groups} names no group for {path}")
            yield Sample(path.relative_to(layout.path).as_posix(), path, label=label, group=group)


def _groups_of_files(card: Card, table: Path) -> dict[Path, str]:
    groups = {}
    for place, row in table_rows(table):
        path = _inside(table.parent, _text(row, "file", place, card.id), place)
        groups[path] = _text(row, "group", place, card.id)
    return groups


def _table(card: Card, layout: TableLayout) -> Iterator[Sample]:
    labels = {entry.marker: label for label, entry in enumerate(card.classes)}
    columns = {name: layout.columns.get(name, name) for name in get_args(SampleField)}
    for place, row in table_rows(layout.path):
        if not matches(row, layout.only):
            continue
        image = _inside(layout.path.parent, _text(row, columns["image"], place, card.id), place)
        if not image.is_file():
            raise DataError(f"{card.id}: {place}: no image file {image}")
        marker = _text(row, columns["label"], place, card.id) if labels else ""
        if marker not in labels and labels:
            raise DataError(f"{card.id}: {place}: label {marker!r} is no class; expected {', '.join(labels)}")
        yield Sample(
            id=_text(row, columns["id"], place, card.id),
            image=image,
            label=labels.get(marker),
            caption=str(row.get(columns["caption"]) or "").strip() or None,
            group=str(row.get(columns["group"]) or ""),
        )


def _corpus_split(card: Card, layout: CorpusLayout) -> Iterator[Sample]:
    corpus = _corpus(layout.path)
    ids, captions, groups = (corpus.column(name) for name in ("id", "caption", "group"))
    for row in corpus.rows(layout.split):
        yield Sample(ids[row], CorpusImage(layout.path, int(row)), caption=captions[row], group=groups[row])


@lru_cache(maxsize=4)
def _corpus(folder: Path) -> Corpus:
    return Corpus(folder)


READERS: dict[str, Callable[[Card, Any], Iterator[Sample]]] = {
    "folders": _folders,
    "table": _table,
    "corpus": _corpus_split,
}


def table_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row of a CSV, TSV, JSONL or Parquet table, with its place (`pairs.csv, row 3`, from 1) for messages."""
    reader = TABLE_FORMATS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of table; expected {', '.join(TABLE_FORMATS)}")
    if not path.is_file():
        raise DataError(f"no table {path}; check the path in the card")
    try:
        for number, row in enumerate(reader(path), start=1):
            yield f"{path.name}, row {number}", row
    except (ValueError, csv.Error) as error:  # UnicodeDecodeError, JSONDecodeError and ArrowInvalid are ValueErrors
        raise DataError(f"{path}: not readable as {path.suffix} ({error})") from error


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        yield from csv.DictReader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")


def _jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"expected one JSON object a line, found {line[:40]!r}")
            yield row


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    from pyarrow import parquet

    for batch in parquet.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()


TABLE_FORMATS: dict[str, Callable[[Path], Iterator[Mapping[str, Any]]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def _text(row: Mapping[str, Any], column: str, place: str, card_id: str) -> str:
    value = row.get(column)
    if value is None or not str(value).strip():
        problem = "is empty" if column in row else f"is missing; columns found: {', '.join(map(str, row))}"
        raise DataError(f"{card_id}: {place}: column {column!r} {problem}")
    return str(value)


def _inside(folder: Path, name: str, place: str) -> Path:
    """The real path of a file named in a table. Raises DataError when the name leads out of the table's folder."""
    try:
        return Path(path_inside(folder, name))
    except BadRecordError as error:
        raise DataError(f"{place}: {error.detail}; paths stay inside the folder of their table") from error
