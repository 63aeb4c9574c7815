"""Groups (patients, articles) of pictures, from a table that lies beside them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from mmkd.cards.readers.cells import Row
from mmkd.cards.readers.tables import file_inside, table_rows
from mmkd.errors import DataError
from mmkd.folders.paths import stamp_of
from mmkd.tables.values import as_name

FILE_COLUMNS = ("file", "path")  # the first that the table has


def read_groups(table: Path) -> Mapping[str, str]:
    """Real path of a file -> its group. Kept in memory by each process, as long as the table stays as it is.

    Raises DataError where there is no such table, a column or a value is missing, a file leads out of the table's
    folder, or two rows give one file different groups.
    """
    if not table.is_file():
        raise DataError(f"{table}: no such table; correct `groups`")
    return _read(table, stamp_of(table))


@lru_cache(maxsize=16)
def _read(table: Path, stamp: str) -> Mapping[str, str]:
    groups: dict[str, str] = {}
    for place, values in table_rows(table):
        row = Row(values, f"{table}: {place}")
        column = next((name for name in FILE_COLUMNS if name in values), FILE_COLUMNS[0])
        file = str(file_inside(table.parent, row.cell(column), row.place, None, "; name files of its folder"))
        group = as_name(row.cell("group"))
        if groups.setdefault(file, group) != group:
            raise row.error(f"{row.cell(column)} is in group {group!r}, and in {groups[file]!r} by an earlier row")
    return groups


def group_of(table: Path, folder: Path, name: str) -> str:
    """The group of the file `name` below `folder`; "" where the table does not name it."""
    return read_groups(table).get(os.path.realpath(os.path.join(folder, name)), "")


def check_all_grouped(table: Path, folder: Path, names: Iterable[str]) -> None:
    """Raise DataError unless the table names a group for every file: one without could be on both sides of a split."""
    lacking: Sequence[str] = [name for name in names if not group_of(table, folder, name)]
    if lacking:
        raise DataError(
            f"{table} names no group for {len(lacking):,} pictures of {folder}, such as {lacking[0]}; add rows for "
            f"them (columns {' or '.join(FILE_COLUMNS)}, relative to the folder of the table, and group)"
        )
