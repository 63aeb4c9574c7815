"""What an archive needs of the library or server that keeps its rows. One file and one line of BACKENDS for each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Protocol, cast

import pyarrow as pa

from mmkd.archive.rows import Facts
from mmkd.archive.where import Condition
from mmkd.statistics.metrics import Array


class Store(Protocol):
    """Rows in one place, found by id, by condition and by vector.

    May be called from several threads. place: for messages. unit: what an effort counts, for messages. few_rows: so
    many rows that meet a condition are found faster without the index.
    """

    place: str
    facts: Facts
    unit: str
    few_rows: int

    @property
    def efforts(self) -> Sequence[int]:
        """How thoroughly the approximate index can look, from little to as much as there is."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Be the only writer. Raises ConfigError where another process writes."""
        ...

    def count(self, where: Condition | None = None) -> int: ...

    def scan(self, columns: Sequence[str], where: Condition | None = None) -> Iterator[pa.RecordBatch]:
        """All rows, some thousands at a time."""
        ...

    def put(self, rows: pa.Table, new: bool) -> None:
        """Add rows, or replace those of the same id, each whole or not at all. new: no id of them is there already."""
        ...

    def delete(self, ids: Sequence[str]) -> None: ...

    def nearest(
        self, vector_D: Array, k: int, columns: Sequence[str], where: Condition | None, effort: int | None
    ) -> pa.Table:
        """The k rows of the largest cosine, which is the column `score`. effort: None looks at every row."""
        ...

    def build(self, built: int) -> int:
        """Make the approximate index of all rows, where the one made of `built` rows (0: none) is not good for them.
        Returns how many rows the index there is now was made of."""
        ...

    def tidy(self) -> None:
        """After many writes: join small files, and take new rows into the index there is."""
        ...

    def noted(self) -> dict[str, Any]:
        """What `note` was given last; empty before."""
        ...

    def note(self, values: dict[str, Any]) -> None: ...


BACKENDS = {"lancedb": "mmkd.archive.lance", "qdrant": "mmkd.archive.qdrant"}
"""Module of each backend; it has `open_store`."""


def open_store(place: str, server: str = "", facts: Facts | None = None) -> Store:
    """place: a folder, or with a server the name of a collection. facts: of the archive to make where there is none.

    Raises DataError where there is none and no facts are given.
    """
    module = import_module(BACKENDS["qdrant" if server else "lancedb"])
    opened = cast(Callable[[str, str, Facts | None], Store], module.open_store)
    return opened(place, server, facts)
