"""The vectors and the groups of labelled pictures: read and embedded here, or out of a file of `mmkd embed`.

N pictures, D dimensions, C x H x W pixels.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmkd.adapt.table import Row, Table
from mmkd.curation.records.record import Rejected
from mmkd.errors import ConfigError, DataError
from mmkd.folders.digests import bytes_digest
from mmkd.folders.paths import read_inside
from mmkd.images.decode import decode, without_warnings
from mmkd.inference.embed import MADE_FROM, vectors_in
from mmkd.inference.model import BATCH, Model
from mmkd.progress import track
from mmkd.reasons import BadRecordError, Reason
from mmkd.statistics.metrics import Array

ROOT_CURE = "; to read files from there, name a folder above them: --root FOLDER"


@dataclass(frozen=True, eq=False)
class Seen:
    """rows: those whose picture could be read, with its vector and the digest of its bytes. pixels: if wanted."""

    rows: Sequence[Row]
    vector_ND: Array
    digests: Sequence[str]
    rejected: Sequence[Rejected]
    pixel_NCHW: Array | None = None

    def only(self, places: Array) -> "Seen":
        """Without the other rows."""
        pixels = None if self.pixel_NCHW is None else self.pixel_NCHW[places]
        rows, digests = [self.rows[n] for n in places], [self.digests[n] for n in places]
        return Seen(rows, self.vector_ND[places], digests, self.rejected, pixels)


def embedded(table: Table, model: Model, root: Path | None, workers: int, keep_pixels: bool = False) -> Seen:
    """Every picture of the table decoded and embedded. Raises DataError where none can be read."""
    rows: list[Row] = []
    digests: list[str] = []
    rejected: list[Rejected] = []
    vectors, pixels = [], []
    look = partial(_prepared, table.path.parent, root, model)
    with ThreadPoolExecutor(max(1, workers)) as pool, without_warnings():
        batches = _in_batches(pool, look, table.rows)
        steps = -(-len(table.rows) // BATCH)
        for batch in track(batches, "embed", len(table.rows), "pictures", weight=BATCH) if steps else ():
            rejected += [one for one in batch if isinstance(one, Rejected)]
            good = [one for one in batch if not isinstance(one, Rejected)]
            if not good:
                continue
            prepared_BCHW = np.stack([prepared for _, _, prepared in good])
            vectors.append(model.encode_prepared(prepared_BCHW))
            rows += [row for row, _, _ in good]
            digests += [digest for _, digest, _ in good]
            pixels += [prepared_BCHW] if keep_pixels else []
    if not rows:
        raise DataError(f"{table.path}: none of {len(rejected):,} pictures can be read; {_first(rejected)}")
    return Seen(rows, np.concatenate(vectors), digests, rejected, np.concatenate(pixels) if pixels else None)


Prepared = tuple[Row, str, Array]


def _prepared(folder: Path, root: Path | None, model: Model, row: Row) -> Prepared | Rejected:
    try:
        data = read_inside(folder, row.image, root, ROOT_CURE)
        return row, bytes_digest(data), model.prepare(decode(data))
    except BadRecordError as bad:
        return Rejected("", row.place, row.image, bad.reason, bad.detail)


def _in_batches(
    pool: ThreadPoolExecutor, look: "partial[Prepared | Rejected]", rows: Sequence[Row]
) -> Iterator[list[Prepared | Rejected]]:
    left = iter(rows)
    while chunk := list(islice(left, BATCH)):
        yield list(pool.map(look, chunk))


def stored(table: Table, path: Path, model: Model) -> Seen:
    """The vectors of a Parquet file of `mmkd embed`, found by the path or the id of each row's picture.

    Equal vectors stand for equal bytes. Raises DataError for a file of another model, or that has none of the pictures.
    """
    try:
        found = pq.read_table(path)
        made_from = json.loads((found.schema.metadata or {}).get(MADE_FROM, b"{}"))
        vector_MD, names = vectors_in(found), {name: found[name].to_pylist() for name in ("path", "id")}
    except (OSError, KeyError, ValueError, AttributeError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: not a file of vectors ({error}); make it with mmkd embed --out FILE.parquet"
        ) from error
    if made_from.get("digest") not in (None, model.digest):
        raise ConfigError(f"{path}: vectors of {made_from.get('model')}, not of {model.name}; embed them with --model")
    place = {name: row for column in ("id", "path") for row, name in enumerate(names[column])}
    rows = [row for row in table.rows if row.image in place]
    if not rows:
        raise DataError(
            f"{path}: no picture of {table.path} in it: the table has {table.rows[0].image!r}, "
            f"the vectors {names['path'][:1]}; embed the table itself, or write paths below the embedded folder"
        )
    vector_ND = vector_MD[[place[row.image] for row in rows]]
    detail = f"not among the vectors of {path.name}"
    missing = [row for row in table.rows if row.image not in place]
    rejected = [Rejected("", row.place, row.image, Reason.MISSING_FILE, detail) for row in missing]
    return Seen(rows, vector_ND, [bytes_digest(vector_D.tobytes()) for vector_D in vector_ND], rejected)


def _first(rejected: Sequence[Rejected]) -> str:
    return f"the first: {rejected[0].where}: {rejected[0].reason}: {rejected[0].detail}"


def check_copies(table: Path, seen: Seen) -> None:
    """Raises DataError where pictures of equal bytes have several labels."""
    first: dict[str, Row] = {}
    wrong = []
    for row, digest in zip(seen.rows, seen.digests, strict=True):
        other = first.setdefault(digest, row)
        if other.label != row.label:
            wrong.append(f"{other.image} is {other.label!r}, {row.image} is {row.label!r}")
    if wrong:
        raise DataError(
            f"{table}: {len(wrong):,} pictures are equal to another one with another label ({'; '.join(wrong[:3])}); "
            "correct their labels, or leave them out"
        )


def group_of_each(rows: Sequence[Row], digests: Sequence[str]) -> tuple[Array, int]:
    """Numbers of groups (N,), and how many pictures are copies of an earlier one.

    Pictures belong together that share a group, or their bytes, also over several steps.
    """
    parent = list(range(len(rows)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    first: dict[tuple[str, str], int] = {}
    for number, (row, digest) in enumerate(zip(rows, digests, strict=True)):
        for key in [("group", row.group)] * bool(row.group) + [("bytes", digest)]:
            parent[root(number)] = root(first.setdefault(key, number))
    copies = len(digests) - len(set(digests))
    return np.unique([root(number) for number in range(len(rows))], return_inverse=True)[1], copies


def check_groups(table: Path, label_N: Array, group_N: Array, classes: Sequence[str]) -> None:
    """Raises DataError for a class of one group: it would be learnt from or tested on, never both."""
    few = []
    for number, name in enumerate(classes):
        own = Counter(group_N[label_N == number].tolist())
        if len(own) < 2:
            few.append(f"{name!r} ({own.total():,} pictures)")
    if few:
        raise DataError(
            f"{table}: the pictures of {', '.join(few)} are of one group (patient) or none, expected two groups or "
            "more: what is learnt of one cannot be tested on others; label more patients, or delete the class"
        )
