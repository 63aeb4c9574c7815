"""The rows of an archive: one picture each, and which model made their vectors. N rows, D dimensions."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmkd.errors import ConfigError, DataError
from mmkd.statistics.metrics import Array

if TYPE_CHECKING:
    from mmkd.inference.model import Model

TEXTS = ("id", "source", "path", "caption", "modality", "patient", "series")
SLICE = "slice"
SHOWN = (*TEXTS, SLICE, "thumbnail")  # what a hit tells
FILTERED = (*TEXTS, SLICE)  # what a filter may name
UNIT = 1e-3  # so far a length may be from 1 before a vector counts as not of length 1


@dataclass(frozen=True)
class Facts:
    """Which model an archive belongs to. model: what `open_model` opens. digest: of what decides its vectors."""

    model: str
    name: str
    digest: str
    dim: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def facts_of(model: "Model", text: str) -> Facts:
    """text: what it was opened by."""
    return Facts(text, model.name, model.digest, model.dim)


def check_model(facts: Facts, name: str, digest: str, archive: str) -> None:
    """Raises ConfigError where the archive's vectors are another model's."""
    if digest != facts.digest:
        raise ConfigError(
            f"{archive} holds vectors of model {facts.name} (digest {facts.digest[:12]}), but this is model {name} "
            f"(digest {digest[:12]}), whose vectors cannot be compared with them; give --model {facts.model}, or make "
            "another archive with this model"
        )


def schema(dim: int) -> pa.Schema:
    """state: of the file and of what is known about it; where it differs, the row is made again."""
    return pa.schema(
        [
            *(pa.field(name, pa.string(), nullable=False) for name in TEXTS),
            pa.field(SLICE, pa.int32()),
            pa.field("state", pa.string(), nullable=False),
            pa.field("thumbnail", pa.binary(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )


def completed(table: pa.Table, dim: int) -> pa.Table:
    """The table with all columns of `schema`: what is missing is empty. Needs `id` and `vector`.

    Raises DataError for vectors that are not of `dim` numbers and of length 1, for ids that are missing or stand twice.
    """
    missing = [name for name in ("id", "vector") if name not in table.column_names]
    if missing:
        raise DataError(f"a table of vectors needs the columns id and vector; {missing[0]} is not among its columns")
    if len(table) != len(set(table["id"].to_pylist())) or table["id"].null_count:
        raise DataError("the ids of a table of vectors must be there and differ from each other")
    vector_ND = as_array(table["vector"], dim)
    length_N = np.linalg.norm(vector_ND, axis=1)
    wrong_N = ~(np.abs(length_N - 1) < UNIT)  # NaN is wrong, too
    if wrong_N.any():
        first = int(wrong_N.argmax())
        raise DataError(
            f"{int(wrong_N.sum()):,} of {len(table):,} vectors are not of length 1, first "
            f"{table['id'][first].as_py()!r} of length {length_N[first]:.4g}; divide each by its length"
        )
    wanted = schema(dim)
    empty: dict[str, Any] = {"thumbnail": b"", SLICE: None}
    columns = [
        table[field.name].combine_chunks().cast(field.type) if field.name in table.column_names
        else pa.array([empty.get(field.name, "")] * len(table), field.type)
        for field in wanted
        if field.name != "vector"
    ]  # fmt: skip
    filled = [column if field.nullable else column.fill_null("" if pa.types.is_string(field.type) else b"")
              for column, field in zip(columns, wanted, strict=False)]  # fmt: skip
    return pa.Table.from_arrays([*filled, vectors_column(vector_ND / length_N[:, None])], schema=wanted)


def vectors_column(vector_ND: Array) -> pa.FixedSizeListArray:
    flat = pa.array(np.ascontiguousarray(vector_ND, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vector_ND.shape[1])


def as_array(column: pa.ChunkedArray | pa.Array, dim: int) -> Array:
    """(N, D) float32 of a column of lists. Raises DataError for lists of another length."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    flat = [chunk.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False) for chunk in chunks]
    numbers = sum(map(len, flat))
    if column.null_count or numbers != len(column) * dim:
        raise DataError(f"vectors of {numbers / max(1, len(column)):g} numbers on average; the archive's have {dim}")
    return np.concatenate([*flat, np.empty(0, np.float32)]).reshape(-1, dim)
