"""A folder per class."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from mmkd.cards.card import Card
from mmkd.cards.layouts import FoldersLayout
from mmkd.cards.readers.cells import Row
from mmkd.cards.readers.splits import hashed_split
from mmkd.cards.readers.tables import file_inside, table_rows
from mmkd.cards.samples import PICTURE_SUFFIXES, FileImage, Sample, Split
from mmkd.errors import ConfigError, DataError
from mmkd.folders.listing import listed
from mmkd.folders.regular import is_foreign
from mmkd.tables.values import as_name

GroupOf = Callable[[Path, Path], str]  # a picture, and the folder of its class -> its group


def read_folders(card: Card, layout: FoldersLayout) -> Iterator[Sample]:
    """The pictures of every split and class, in the order of the card."""
    group_of = _groups(card, layout)
    splits: dict[Split, str] = layout.splits or {"test": "."}
    for split, name in splits.items():
        top = layout.path / name
        for label, (folder, paths) in enumerate(_classes(card, layout, top)):
            for path in paths:
                identity = path.relative_to(layout.path).as_posix()
                group = group_of(path, folder)
                place = hashed_split(layout.hashed, group or identity) if layout.hashed else split
                yield Sample(identity, (FileImage(path),), place, labels=(label,), group=group)


def _classes(card: Card, layout: FoldersLayout, top: Path) -> Iterator[tuple[Path, list[Path]]]:
    """The folder of each class with its pictures."""
    if not top.is_dir():
        raise DataError(f"{card.id}: no folder {top}; check the path in the card")
    for entry in card.classes:
        folder = top / entry.marker
        if not folder.is_dir():
            found = (
                ", ".join(sorted(path.name for path in top.iterdir() if path.is_dir() and not is_foreign(path.name)))
                or "none"
            )
            raise DataError(f"{card.id}: class {entry.name!r} has no folder {folder}; folders found: {found}")
        yield folder, pictures_below(folder, layout.skip)


def pictures_below(folder: Path, skip: list[str]) -> list[Path]:
    """Pictures at any depth, sorted, but those that a glob of `skip` matches; nothing hidden or foreign."""
    found = sorted(folder / name for name in listed(folder, PICTURE_SUFFIXES))
    return [path for path in found if not any(path.relative_to(folder).match(glob) for glob in skip)]


def _groups(card: Card, layout: FoldersLayout) -> GroupOf:
    if layout.groups:
        return _groups_of_table(card, layout, layout.groups)
    if layout.group_pattern:
        return _groups_of_names(card, layout.group_pattern)
    return lambda path, folder: ""


def _groups_of_table(card: Card, layout: FoldersLayout, table: Path) -> GroupOf:
    groups: dict[Path, str] = {}
    for place, values in table_rows(table, layout.declared):
        row = Row(values, f"{card.id}: {place}")
        file = file_inside(table.parent, row.cell("file"), row.place, layout.path, "; the card has no pictures there")
        groups[file] = as_name(row.cell("group"))

    def group_of(path: Path, folder: Path) -> str:
        if not (group := groups.get(path.resolve(), "")):
            raise DataError(f"{card.id}: {table} names no group for {path}")
        return group

    return group_of


def _groups_of_names(card: Card, pattern: str) -> GroupOf:
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"{card.id}: group_pattern {pattern!r} is no regular expression ({error})") from error
    if expression.groups != 1:
        raise ConfigError(f"{card.id}: group_pattern {pattern!r} has {expression.groups} groups, expected one")

    def group_of(path: Path, folder: Path) -> str:
        name = path.relative_to(folder).as_posix()
        found = expression.search(name)
        if found is None or not found[1]:
            raise DataError(f"{card.id}: group_pattern {pattern!r} finds no group in {name}")
        return found[1]

    return group_of
