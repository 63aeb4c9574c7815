"""A folder per class."""

from collections.abc import Iterator
from pathlib import Path

from mmkd.corpus.sources.files import IMAGE_SUFFIXES
from mmkd.errors import DataError
from mmkd.evaluation.card import Card
from mmkd.evaluation.layouts import FoldersLayout
from mmkd.evaluation.readers.cells import Row
from mmkd.evaluation.readers.tables import file_inside, table_rows
from mmkd.evaluation.samples import FileImage, Sample, Split


def read_folders(card: Card, layout: FoldersLayout) -> Iterator[Sample]:
    """The images of every class and split, in the card's order."""
    groups = _groups_of_files(card, layout.groups) if layout.groups else None
    splits: dict[Split, str] = layout.splits or {"test": "."}
    for split, name in splits.items():
        top = layout.path / name
        if not top.is_dir():
            raise DataError(f"{card.id}: no folder {top}; check the path in the card")
        for label, entry in enumerate(card.classes):
            for path in _images(card, top, entry.name, entry.marker):
                group = _group(card, layout, groups, path)
                yield Sample(
                    path.relative_to(layout.path if layout.splits else top).as_posix(),
                    (FileImage(path),),
                    split,
                    labels=(label,),
                    group=group,
                )


def _images(card: Card, top: Path, name: str, marker: str) -> list[Path]:
    folder = top / marker
    if not folder.is_dir():
        found = ", ".join(sorted(path.name for path in top.iterdir() if path.is_dir())) or "none"
        raise DataError(f"{card.id}: class {name!r} has no folder {folder}; folders found: {found}")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def _group(card: Card, layout: FoldersLayout, groups: dict[Path, str] | None, path: Path) -> str:
    if groups is None:
        return ""
    if not (group := groups.get(path.resolve(), "")):
        raise DataError(f"{card.id}: {layout.groups} names no group for {path}")
    return group


def _groups_of_files(card: Card, table: Path) -> dict[Path, str]:
    groups = {}
    for place, values in table_rows(table):
        row = Row(values, f"{card.id}: {place}")
        groups[file_inside(table.parent, row.cell("file"), row.place)] = row.cell("group")
    return groups
