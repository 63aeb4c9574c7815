"""The unit of extraction: rows of the corpus whose features are written together, whole or not at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Shard:
    """name: of the file in each teacher's folder. todo: the teachers (places in `dims`) that still lack it."""

    name: str
    rows: np.ndarray
    todo: tuple[int, ...]


Produced = Iterator[tuple[Shard, list[pa.Table]]]


class Producer(Protocol):
    """Where features come from: models that are run, or files that hold them. dims: of each of its K teachers."""

    dims: list[int]

    def produce(self, shards: Sequence[Shard]) -> Produced:
        """The tables (columns id, image, text, reason) of each shard's teachers, in the order of its `todo`."""
        ...
