"""An archive of pictures: add, delete, search. N rows, D dimensions."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmkd.archive.plan import Plan, nearest, planned
from mmkd.archive.recall import captions, picture_queries, tuned
from mmkd.archive.rows import SHOWN, Facts, check_model, completed
from mmkd.archive.store import Store, open_store
from mmkd.archive.where import Compare, Condition, In, columns_in, parse_where
from mmkd.errors import ConfigError, DataError
from mmkd.statistics.metrics import Array

if TYPE_CHECKING:
    from mmkd.inference.model import Model

EXACT_ROWS = 1_000_000  # with fewer rows each search looks at all of them
GROUPS = {"picture": "id", "series": "series", "patient": "patient"}
"""What a hit may stand for, and the column whose value its pictures have in common."""
MANY_VALUES = 1_000  # of a column: it tells single pictures or patients apart, and is not counted
VALUES = 10  # of a column, named where nothing meets a condition
MORE = 4  # rows asked for a hit of a group, at first


@dataclass(frozen=True)
class Hit:
    """A picture found. score: cosine. source: as `index.source_name`. thumbnail: JPEG, or empty where none was kept."""

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
    def folder(self) -> str:
        """Where `path` begins."""
        return self.source if self.source.endswith("/") else str(Path(self.source).parent)

    @property
    def file(self) -> str:
        """The file that the hit rests on."""
        return str(Path(self.folder, self.path)) if self.source else self.path


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
        self.exact_rows = EXACT_ROWS

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

    def check(self, model: "Model") -> None:
        """Raises ConfigError where the model is not the archive's."""
        check_model(self.facts, model.name, model.digest, self.store.place)

    def model(self, text: str = "", device: str = "auto") -> "Model":
        """The archive's model, opened. text: where it is now, where it is not where it was. Raises ConfigError for
        another model, or where there is none."""
        from mmkd.inference.model import open_model, split_form

        name = text or self.facts.model
        place = Path(split_form(name)[0])
        if not text and place.is_absolute() and not place.is_dir():
            raise ConfigError(
                f"{self.store.place}: its model {self.facts.name} is no longer at {place}; give "
                "--model with its place now"
            )
        model = open_model(name, device, backend="auto")  # ONNX Runtime starts in less time than PyTorch
        if model.digest != self.facts.digest:
            model = open_model(name, device)
        self.check(model)
        return model

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
        direction_D, effort = self._direction(vector_D), None if exact else self.effort()
        found = self._grouped(direction_D, k, GROUPS[by], planned(self.store, effort, condition, exclude_patient))
        return [Hit(rank, **row) for rank, row in enumerate(found, 1)]

    def row(self, name: str) -> tuple[Array, dict[str, Any]]:
        """The vector and the facts of a picture. Raises DataError where there is none of this id."""
        for batch in self.store.scan((*SHOWN, "vector"), Compare("id", "=", name)):
            for row in batch.to_pylist():
                return np.asarray(row.pop("vector"), np.float32), row
        raise DataError(f"no picture {name!r} in {self.store.place}; `mmkd search` shows the ids")

    def about(self, where: str, excluded: str, by: str) -> str:
        """What a search looked at, in words: which data its hits rest on."""
        effort, notes = self.effort(), self.store.noted()
        how = (
            "exact"
            if effort is None
            else f"approximate, recall@10 {min(notes['recall'].values()):.3f} when it was made"
        )
        parts = [f"{len(self):,} pictures in {self.store.place}, model {self.facts.name}, {how}"]
        if where:
            condition = parse_where(where)
            met = self.store.count(condition)
            parts.append(f"{met:,} meet {where}{'' if met else self._values(columns_in(condition))}")
        if excluded:
            own = self.store.count(Compare("patient", "=", excluded))
            unknown = self.store.count(Compare("patient", "=", ""))
            parts.append(f"{own:,} of the same patient left out; of {unknown:,} the patient is not known")
        if by != "picture":
            parts.append(f"one hit a {by}: its best picture")
        return "; ".join(parts)

    def _values(self, columns: Sequence[str]) -> str:
        """For a condition that nothing meets: the most frequent values that its columns have."""
        counts: dict[str, Counter[Any]] = {name: Counter() for name in columns}
        for batch in self.store.scan(columns):
            for name, count in counts.items():
                if len(count) <= MANY_VALUES:
                    count.update(batch[name].to_pylist())
            if all(len(count) > MANY_VALUES for count in counts.values()):
                break
        told = []
        for name, count in counts.items():
            if len(count) > MANY_VALUES:
                told.append(f"{name} has many values, such as {next(iter(count))!r}")
                continue
            shown = ", ".join(f"{value!r} ({times:,})" for value, times in count.most_common(VALUES))
            told.append(f"{name} is {shown}{' ...' if len(count) > VALUES else ''}")
        return f" ({'; '.join(told)})"

    def finish(
        self, encode_texts: Callable[[Sequence[str]], Array] | None = None, is_changed: bool = True
    ) -> dict[str, Any]:
        """After writing: join small files, and with EXACT_ROWS rows or more make the index, or bring it up to date, and
        measure how thoroughly it must be searched. encode_texts: of the archive's model, so that captions are among the
        queries that measure it. is_changed: whether rows were added, replaced or deleted since the last call.
        Returns what is kept about it: rows, and with an index built (rows it was made of), effort, recall by kind of
        query with its low end, and p50_ms.
        """
        with self.writing():
            before, rows = self.store.noted(), len(self)
            if not is_changed and before.get("rows") == rows and "effort" in before:
                return before
            self.store.tidy()
            if rows < self.exact_rows:
                notes: dict[str, Any] = {"rows": rows, "effort": None}
            else:
                built = self.store.build(before.get("built", 0))
                queries = {"picture": picture_queries(self.store)}
                if encode_texts and (texts := captions(self.store)):
                    queries["text"] = encode_texts(texts)
                notes = {"rows": rows, "built": built, **asdict(tuned(self.store, queries))}
            self.store.note(notes)
        return notes

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

    def _grouped(self, vector_D: Array, k: int, column: str, plan: Plan) -> list[dict[str, Any]]:
        """Rows of the best picture of each group. More rows are asked for until there are k groups."""
        asked = k if column == "id" else MORE * k
        while True:
            table = nearest(self.store, vector_D, asked, SHOWN, plan)
            rows = sorted(table.to_pylist(), key=lambda row: (-row["score"], row["id"]))
            best: dict[str, dict[str, Any]] = {}
            for row in rows:
                best.setdefault(row[column] or f"\0{row['id']}", row)
            if len(best) >= k or len(table) < asked:
                return list(best.values())[:k]
            asked *= MORE


def add_vectors(place: str | Path, table: pa.Table, facts: Facts, server: str = "") -> Added:
    """Vectors that were made elsewhere, with the columns id and vector and whatever else of `rows.schema` is known;
    `group` is the patient. As `Archive.add`."""
    if "group" in table.column_names:
        table = table.rename_columns({"group": "patient"})
    return Archive.create(place, facts, server).add(table)
