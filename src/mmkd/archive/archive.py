"""An archive of pictures: add, delete, search. N rows, D dimensions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmkd.archive.rows import SHOWN, Facts, check_model, completed
from mmkd.archive.store import Store, open_store
from mmkd.archive.where import Compare, Condition, In, both, parse_where
from mmkd.errors import ConfigError, DataError
from mmkd.inference.model import Model
from mmkd.statistics.metrics import Array

EXACT_ROWS = 1_000_000  # with fewer rows each search looks at all of them
GROUPS = {"picture": "id", "series": "series", "patient": "patient"}
"""What a hit may stand for, and the column whose value its pictures have in common."""
MORE = 4  # rows asked for a hit of a group, at first


@dataclass(frozen=True)
class Hit:
    """A picture found. score: cosine. file: the one it rests on. thumbnail: JPEG, or empty where none was kept."""

    rank: int
    score: float
    id: str
    source: str
    path: str
    caption: str
    modality: str
    patient: str
    series: str
    slice: int | None
    thumbnail: bytes

    @property
    def file(self) -> str:
        return str(Path(self.source, self.path)) if self.source else self.path


@dataclass(frozen=True)
class Added:
    """How many rows were new, made again since they had changed, and there already."""

    new: int = 0
    changed: int = 0
    same: int = 0

    def __add__(self, other: "Added") -> "Added":
        return Added(self.new + other.new, self.changed + other.changed, self.same + other.same)


class Archive:
    """Rows of pictures and what finds them. A reader sees what another process has written at its next call.

    Every method may be called from several threads.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.facts = store.facts

    @classmethod
    def open(cls, place: str | Path, server: str = "") -> "Archive":
        """place: its folder, or with the address of a Qdrant server the name of a collection there.

        Raises DataError where there is no archive.
        """
        return cls(open_store(str(place), server))

    @classmethod
    def create(cls, place: str | Path, facts: Facts, server: str = "") -> "Archive":
        """The archive, made where there is none. Raises ConfigError where it is another model's."""
        made = cls(open_store(str(place), server, facts))
        check_model(made.facts, facts.name, facts.digest, made.store.place)
        return made

    def __len__(self) -> int:
        return self.store.count()

    def check(self, model: Model) -> None:
        """Raises ConfigError where the model is not the archive's."""
        check_model(self.facts, model.name, model.digest, self.store.place)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer of several `add` and `delete`; each of them is it for itself, too."""
        with self.store.writing():
            yield

    def add(self, table: pa.Table) -> Added:
        """Add the rows, or replace those of the same id that differ in `state`. All columns but id and vector may be
        missing (`rows.schema`). Once it returns, the rows outlast the process. Raises DataError, ConfigError.
        """
        rows = completed(table, self.facts.dim)
        ids, states = rows["id"].to_pylist(), rows["state"].to_pylist()
        with self.writing():
            known = self.states(In("id", tuple(ids)))
            new = pa.array([name not in known for name in ids], pa.bool_())
            changed = pa.array(
                [
                    name in known and (not state or known[name] != state)
                    for name, state in zip(ids, states, strict=True)
                ],
                pa.bool_(),
            )
            for mask, are_new in ((changed, False), (new, True)):
                if mask.true_count:
                    self.store.put(rows.filter(mask), are_new)
        return Added(new.true_count, changed.true_count, len(ids) - new.true_count - changed.true_count)

    def states(self, where: Condition | None = None) -> dict[str, str]:
        """id -> state of the rows there are."""
        found: dict[str, str] = {}
        for batch in self.store.scan(("id", "state"), where):
            found.update(zip(batch["id"].to_pylist(), batch["state"].to_pylist(), strict=True))
        return found

    def delete(self, ids: Sequence[str]) -> int:
        """Returns how many there were. Raises DataError where one is not there; then nothing is deleted."""
        wanted = list(dict.fromkeys(ids))
        with self.writing():
            known = self.states(In("id", tuple(wanted)))
            if missing := [name for name in wanted if name not in known]:
                raise DataError(
                    f"{len(missing):,} of {len(wanted):,} ids are not in {self.store.place}, first {missing[0]!r}; "
                    "nothing was deleted. `mmkd search` shows the ids"
                )
            self.store.delete(wanted)
        return len(wanted)

    def search(
        self,
        vector_D: Array,
        k: int = 10,
        where: str = "",
        exclude_patient: str = "",
        by: str = "picture",
        exact: bool = False,
    ) -> list[Hit]:
        """The k pictures of the largest cosine, best first.

        where: see `where.parse_where`. exclude_patient: whose pictures are left out. by: `picture`, `series` or
        `patient`: of each only the picture that matches best, so that the score of a series is the maximum over its
        slices; a picture without one counts for itself. exact: look at every row also where there is an index.
        Raises ConfigError for a condition that is none and a vector that is not of the archive's model.
        """
        if by not in GROUPS:
            raise ConfigError(f"by {by!r}: it may be {', '.join(GROUPS)}")
        condition = parse_where(where) if where else None
        if exclude_patient:
            condition = both(condition, Compare("patient", "!=", exclude_patient))
        found = self._grouped(self._direction(vector_D), k, condition, GROUPS[by], None if exact else self.effort())
        return [Hit(rank, **row) for rank, row in enumerate(found, 1)]

    def effort(self) -> int | None:
        """How thoroughly the index is searched; None where every row is looked at."""
        found = self.store.noted().get("effort")
        return found if isinstance(found, int) else None

    def _direction(self, vector_D: Array) -> Array:
        vector_D = np.asarray(vector_D, np.float32)
        length = float(np.linalg.norm(vector_D))
        if vector_D.shape != (self.facts.dim,) or not 0 < length < np.inf:
            raise ConfigError(
                f"a vector of shape {vector_D.shape} and length {length:g}; the archive {self.store.place} has vectors "
                f"of {self.facts.dim} numbers of model {self.facts.name}"
            )
        return vector_D / length

    def _grouped(
        self, vector_D: Array, k: int, where: Condition | None, column: str, effort: int | None
    ) -> list[dict[str, object]]:
        """Rows of the best picture of each group. More rows are asked for until there are k groups."""
        asked = k if column == "id" else MORE * k
        while True:
            table = self.store.nearest(vector_D, asked, SHOWN, where, effort)
            rows = sorted(table.to_pylist(), key=lambda row: (-row["score"], row["id"]))
            best: dict[str, dict[str, object]] = {}
            for row in rows:
                best.setdefault(row[column] or f"\0{row['id']}", row)
            if len(best) >= k or len(table) < asked:
                return list(best.values())[:k]
            asked *= MORE
