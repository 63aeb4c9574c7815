"""An archive in a folder: one table of LanceDB, in this process. Commits are atomic, and readers never wait."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from math import ceil
from pathlib import Path
from threading import RLock
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmkd.archive.cached import ExactSearch
from mmkd.archive.rows import Facts, schema
from mmkd.archive.where import Condition, In, sql
from mmkd.errors import DataError
from mmkd.folders.atomic import remove_drafts, write_json
from mmkd.folders.locks import sole_owner
from mmkd.statistics.metrics import Array

TABLE = "pictures"
FACTS = "mmkd"  # key in the metadata of the table's schema
NOTES = "index.json"
KEPT = timedelta(minutes=10)  # so long old versions stay for the readers that use them
SCANNED = 8192  # rows at a time
CACHED_BYTES = 2**31 + 2**28  # of vectors that exact search keeps in memory: a million of 512 numbers
GROWN = 1.25  # the index is made anew where rows are so many times more or fewer than those it was made of
PARTITION = 4096  # rows, on average, of a partition of the index
REFINED = 4  # of so many times k candidates the cosines are computed from the whole vectors


def open_store(place: str, server: str, facts: Facts | None) -> "LanceStore":
    """Raises DataError where the folder holds no archive and no facts are given."""
    lancedb = lancedb_library()
    folder = Path(place)
    if facts is None and not folder.is_dir():
        raise DataError(f"{place}: no such archive; make one with `mmkd index SOURCE --model MODEL --out {place}`")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{place} is a file; an archive is a folder")
    base = lancedb.connect(place, read_consistency_interval=timedelta(0))
    if TABLE not in base.list_tables().tables:
        if facts is None:
            raise DataError(f"{place} holds no archive; make one with `mmkd index SOURCE --model MODEL --out {place}`")
        if folder.is_dir() and any(one.name != f"{TABLE}.lance" for one in folder.iterdir()):
            raise DataError(f"{place} holds other files and no archive; choose a new folder as --out")
        with sole_owner(folder):
            described = schema(facts.dim).with_metadata({FACTS: json.dumps(facts.as_dict())})
            with system_errors(folder):
                base.create_table(TABLE, schema=described, exist_ok=True)
    return LanceStore(folder, base.open_table(TABLE))


def lancedb_library() -> Any:
    """lancedb. Raises DataError that says what to install."""
    try:
        import lancedb
    except ImportError as error:
        raise DataError("archives are kept by LanceDB; install mmkd with its extra [archive]") from error
    return lancedb


@contextmanager
def system_errors(folder: Path) -> Iterator[None]:
    """What the system refuses while LanceDB writes, such as room on the disk, as the OSError that it is."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # LanceDB's own, which tell the number in their text only
        if found := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(folder)) from error
        raise


class LanceStore:
    """See `store.Store`."""

    unit, few_rows = "partitions", 0

    def __init__(self, folder: Path, table: Any) -> None:
        self.place, self._folder, self._table = str(folder), folder, table
        found = (table.schema.metadata or {}).get(FACTS.encode())
        if found is None:
            raise DataError(f"{folder}: a table of LanceDB, but not an archive of mmkd; choose another folder")
        self.facts = Facts(**json.loads(found))
        self._exact = ExactSearch(table, self.facts.dim)
        self._writers, self._lock = 0, RLock()

    @property
    def efforts(self) -> Sequence[int]:
        """Partitions looked at: from four on, in steps of at most a fourth more."""
        most = ceil(GROWN * self._partitions())  # it may have been made of so many more rows
        steps = (1, 2, 3, *(size * 2**power for power in range(most.bit_length()) for size in (4, 5, 6, 7)))
        return (*(step for step in steps if step < most), most)

    def _partitions(self) -> int:
        return max(1, self.count() // PARTITION)

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._lock:
            if self._writers:
                yield
                return
            with sole_owner(self._folder):
                self._writers = 1
                try:
                    with system_errors(self._folder):
                        yield
                finally:
                    self._writers = 0

    def count(self, where: Condition | None = None) -> int:
        return int(self._table.count_rows(None if where is None else sql(where)))

    def scan(self, columns: Sequence[str], where: Condition | None = None) -> Iterator[pa.RecordBatch]:
        query = self._table.search().select(list(columns)).limit(None)
        if where is not None:
            query = query.where(sql(where))
        yield from query.to_batches(SCANNED)

    def put(self, rows: pa.Table, new: bool) -> None:
        if new:
            self._table.add(rows)
        else:
            self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def delete(self, ids: Sequence[str]) -> None:
        self._table.delete(sql(In("id", tuple(ids))))

    def nearest(
        self, vector_D: Array, k: int, columns: Sequence[str], where: Condition | None, effort: int | None
    ) -> pa.Table:
        condition = "" if where is None else sql(where)
        if effort is None and self.count() * self.facts.dim * 4 <= CACHED_BYTES:
            return self._exact.nearest(vector_D, k, list(columns), condition)
        query = self._table.search(vector_D, vector_column_name="vector").distance_type("cosine").limit(k)
        if effort is None:
            query = query.bypass_vector_index()
        else:
            query = query.nprobes(effort).refine_factor(REFINED)
            if condition:  # few rows of these partitions may meet it
                query = query.maximum_nprobes(0)
        if condition:
            query = query.where(condition, prefilter=True)
        table = query.select([*columns, "_distance"]).to_arrow()
        score = pc.min_element_wise(pc.subtract(1.0, table["_distance"].cast(pa.float64())), 1.0)  # rounding
        return table.drop_columns("_distance").append_column("score", score)

    def build(self, built: int) -> int:
        from lancedb.index import IvfSq

        rows = self.count()
        if built and built / GROWN <= rows <= built * GROWN:
            return built  # `tidy` has taken new rows into it
        config = IvfSq(distance_type="cosine", num_partitions=self._partitions())
        with system_errors(self._folder):
            self._table.create_index("vector", config=config, replace=True)
        return rows

    def tidy(self) -> None:
        with system_errors(self._folder):
            self._table.optimize(cleanup_older_than=KEPT)

    def noted(self) -> dict[str, Any]:
        try:
            found = json.loads((self._folder / NOTES).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def note(self, values: dict[str, Any]) -> None:
        remove_drafts(self._folder / NOTES)
        write_json(self._folder / NOTES, values)
