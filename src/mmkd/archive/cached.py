"""Exact search over vectors that stay in memory: a table of LanceDB reads its vectors from files for each query.

N rows, K hits, D dimensions.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from mmkd.archive.rows import as_array
from mmkd.statistics.metrics import Array

ROW = "_rowid"
COPIED = 0.2  # share of the rows


@dataclass(frozen=True)
class Vectors:
    """Of one version of the table. row_N: numbers of its rows, ascending."""

    version: int
    row_N: Array
    vector_ND: Array


def _scores(vector_ND: Array, place_M: Array, vector_D: Array) -> Array:
    """Of the rows at these places. Of all first, where they are many: copying vectors takes longer than using them."""
    if len(place_M) > COPIED * len(vector_ND):
        score_N = np.asarray(vector_ND @ vector_D)
        return score_N if len(place_M) == len(score_N) else score_N[place_M]
    return np.asarray(vector_ND[place_M] @ vector_D)


class ExactSearch:
    """Reads a version's vectors once, and again when another process or thread has written."""

    def __init__(self, table: Any, dim: int) -> None:
        self._table, self._dim = table, dim
        self._vectors = Vectors(-1, np.empty(0, np.uint64), np.empty((0, dim), np.float32))
        self._lock = Lock()

    def nearest(self, vector_D: Array, k: int, columns: list[str], where: str) -> pa.Table:
        """The k rows of the largest cosine, best first. Starts again when the table changes meanwhile."""
        while True:
            vectors = self._current()
            place_N = np.arange(len(vectors.row_N))
            if where:
                query = self._table.search().where(where).select(["id"]).with_row_id(True).limit(None)
                place_N = np.searchsorted(vectors.row_N, np.sort(query.to_arrow()[ROW].to_numpy()))
            if self._table.version != vectors.version:
                continue
            score_N = _scores(vectors.vector_ND, place_N, vector_D)
            best_K = np.argpartition(-score_N, min(k, len(score_N)) - 1)[:k] if len(score_N) else np.arange(0)
            found = self._rows(vectors.row_N[place_N[best_K]], score_N[best_K], columns)
            if self._table.version == vectors.version:
                return found

    def _rows(self, row_K: Array, score_K: Array, columns: list[str]) -> pa.Table:
        taken = self._table.take_row_ids(row_K.tolist()).select(columns).with_row_id().to_arrow()
        score = dict(zip(row_K.tolist(), score_K.tolist(), strict=True))
        scores = pa.array([min(score[row], 1.0) for row in taken[ROW].to_pylist()], pa.float64())
        return taken.select(columns).append_column("score", scores)

    def _current(self) -> Vectors:
        with self._lock:
            while self._vectors.version != (version := self._table.version):
                self._vectors = Vectors(-1, self._vectors.row_N[:0], self._vectors.vector_ND[:0])  # make room first
                row_N, vector_ND = self._read()
                order_N = np.argsort(row_N)
                if (order_N[1:] < order_N[:-1]).any():
                    row_N, vector_ND = row_N[order_N], vector_ND[order_N]
                if self._table.version == version:
                    self._vectors = Vectors(version, row_N, vector_ND)
            return self._vectors

    def _read(self) -> tuple[Array, Array]:
        query = self._table.search().select(["vector"]).with_row_id(True).limit(None)
        row_parts, parts = [np.empty(0, np.uint64)], [np.empty((0, self._dim), np.float32)]
        for batch in query.to_batches():
            row_parts.append(batch[ROW].to_numpy())
            parts.append(as_array(batch["vector"], self._dim))
        return np.concatenate(row_parts), np.concatenate(parts)
