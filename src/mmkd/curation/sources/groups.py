"""Groups (patients, articles) of pictures, from a table that lies beside them."""

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from mmkd.cards.readers.cells import Row
from mmkd.cards.readers.tables import file_inside, table_rows
from mmkd.curation.settings.sources import FoldersSource
from mmkd.errors import DataError
from mmkd.folders.paths import stamp_of
from mmkd.folders.regular import irregular
from mmkd.tables.values import as_name

FILE_COLUMNS = ("file", "path")  # the first that the table has


def read_groups(table: Path, root: Path | None) -> Mapping[str, str]:
    """Real path of a file -> its group. Kept in memory by each process, as long as the table stays as it is.

    Raises DataError where there is no such table, a column or a value is missing, a file leads out of the table's
    folder and `root`, or two rows give one file different groups.
    """
    if not table.is_file():
        raise DataError(f"{table}: {irregular(table) or 'no such table'}; correct `groups`")
    return _read(table, root, stamp_of(table))


@lru_cache(maxsize=16)
def _read(table: Path, root: Path | None, stamp: str) -> Mapping[str, str]:
    groups: dict[str, str] = {}
    for place, values in table_rows(table):
        row = Row(values, f"{table}: {place}")
        column = next((name for name in FILE_COLUMNS if name in values), FILE_COLUMNS[0])
        file = str(file_inside(table.parent, row.cell(column), row.place, root))
        group = as_name(row.cell("group"))
        if groups.setdefault(file, group) != group:
            raise row.error(f"{row.cell(column)} is in group {group!r}, and in {groups[file]!r} by an earlier row")
    return groups


def table_group(source: FoldersSource, name: str) -> str:
    """The group that the source's table gives the file `name`; "" where it does not name the file, or there is none."""
    if source.groups is None:
        return ""
    return read_groups(source.groups, source.root).get(os.path.realpath(os.path.join(source.path, name)), "")


def check_all_grouped(source: FoldersSource, names: Iterable[str]) -> None:
    """Raise DataError unless the source's table names a group for every file: one without could be on both sides of a
    split. The names are drawn only where there is a table."""
    if source.groups is None:
        return
    lacking = [name for name in names if not table_group(source, name)]
    if lacking:
        raise DataError(
            f"{source.groups} names no group for {len(lacking):,} pictures of {source.path}, such as {lacking[0]}; "
            f"add rows for them (columns {' or '.join(FILE_COLUMNS)}, relative to the folder of the table, and group)"
        )
