"""An archive on a Qdrant server, as a collection: for many users. The server orders the writes of several clients."""

import atexit
import base64
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from mmkd.archive.rows import SLICE, Facts, as_array, schema
from mmkd.archive.where import Compare, Condition, In, IsNull, Joined, Like
from mmkd.errors import ConfigError, DataError
from mmkd.statistics.metrics import Array

KEY = "QDRANT_API_KEY"
FACTS, NOTES = "mmkd", "mmkd_index"  # keys in the metadata of the collection
POINTS = uuid.UUID("6f0c6d1e-6f3f-4c0e-9d0a-3c5d5d6b7a10")  # in whose name the ids of points are made
BATCH_POINTS, SCANNED = 256, 1024
INDEXED = ("id", "source", "modality", "patient", "series")
BUILD_S = 3600.0
RANGES = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


def open_store(place: str, server: str, facts: Facts | None) -> "QdrantStore":
    """place: the collection. server: an address, or a folder for Qdrant's local mode, in which one process keeps the
    collection without a server. Raises DataError where the server does not answer, or has no such archive and no facts
    are given.
    """
    client, models = client_of(server), qdrant_library().models
    if not told(server, client.collection_exists, place):
        if facts is None:
            cure = f"make one with `mmkd index SOURCE --model MODEL --out {place} --server {server}`"
            raise DataError(f"{server} has no archive {place!r}; {cure}")
        params = models.VectorParams(size=facts.dim, distance=models.Distance.COSINE)
        described = {FACTS: facts.as_dict()}
        told(server, client.create_collection, place, vectors_config=params, metadata=described)
        if server.startswith("http"):
            for name in INDEXED:
                told(server, client.create_payload_index, place, name, models.PayloadSchemaType.KEYWORD)
            told(server, client.create_payload_index, place, SLICE, models.PayloadSchemaType.INTEGER)
    return QdrantStore(place, server, client)


def qdrant_library() -> Any:
    """qdrant_client. Raises DataError that says what to install."""
    try:
        import qdrant_client
    except ImportError as error:
        raise DataError("archives on a server are kept by Qdrant; install mmkd with its extra [qdrant]") from error
    return qdrant_client


@cache
def client_of(server: str) -> Any:
    """One client a server; it may be used by several threads."""
    library = qdrant_library()
    if not server.startswith("http"):
        client = library.QdrantClient(path=server, force_disable_check_same_thread=True)
        atexit.register(client.close)
        return client
    return library.QdrantClient(url=server, api_key=os.environ.get(KEY), check_compatibility=False)


def told(server: str, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What the call returns. Raises DataError where the server does not answer, or refuses."""
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    try:
        return call(*given, **named)
    except ResponseHandlingException as error:
        raise DataError(
            f"the Qdrant server at {server} does not answer ({error}); start it, or see --server"
        ) from error
    except UnexpectedResponse as error:
        cure = f"; set {KEY} to its key" if error.status_code in (401, 403) else ""
        reason = f"{error.status_code} {error.reason_phrase}"
        raise DataError(f"the Qdrant server at {server} refuses ({reason}: {error.content[:200]!r}){cure}") from error


class QdrantStore:
    """See `store.Store`. A point's id is made of the row's; the columns are its payload."""

    efforts = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
    unit, few_rows = "candidates on the walk through the graph (hnsw_ef)", 100_000

    def __init__(self, place: str, server: str, client: Any) -> None:
        self.place, self._name, self._server, self._client = f"{place} on {server}", place, server, client
        self._is_remote = server.startswith("http")
        found = self._metadata().get(FACTS)
        if found is None:
            raise DataError(f"{self.place} is a collection of Qdrant, but not an archive of mmkd; choose another name")
        self.facts = Facts(**found)

    def writing(self) -> AbstractContextManager[None]:
        return nullcontext()

    def count(self, where: Condition | None = None) -> int:
        return int(self._call("count", count_filter=where and as_filter(where), exact=True).count)

    def scan(self, columns: Sequence[str], where: Condition | None = None) -> Iterator[pa.RecordBatch]:
        names = [name for name in columns if name != "vector"]
        place, chosen = None, where and as_filter(where)
        while True:
            points, place = self._call(
                "scroll",
                scroll_filter=chosen,
                limit=SCANNED,
                offset=place,
                with_payload=names or False,
                with_vectors="vector" in columns,
            )
            yield from self._table(points, columns).to_batches()
            if place is None:
                return

    def put(self, rows: pa.Table, new: bool) -> None:
        models = qdrant_library().models
        for first in range(0, len(rows), BATCH_POINTS):
            part = rows.slice(first, BATCH_POINTS)
            vector_BD = as_array(part["vector"], self.facts.dim)
            payloads = part.drop_columns("vector").to_pylist()
            for payload in payloads:
                payload["thumbnail"] = base64.b64encode(payload["thumbnail"]).decode()
            points = [
                models.PointStruct(id=_point(payload["id"]), vector=vector_D.tolist(), payload=payload)
                for payload, vector_D in zip(payloads, vector_BD, strict=True)
            ]
            self._call("upsert", points=points, wait=True)

    def delete(self, ids: Sequence[str]) -> None:
        self._call("delete", points_selector=[_point(name) for name in ids], wait=True)

    def nearest(
        self, vector_D: Array, k: int, columns: Sequence[str], where: Condition | None, effort: int | None
    ) -> pa.Table:
        models = qdrant_library().models
        search = models.SearchParams(exact=effort is None, hnsw_ef=effort) if self._is_remote else None
        found = self._call(
            "query_points",
            query=vector_D.tolist(),
            limit=k,
            query_filter=where and as_filter(where),
            search_params=search,
            with_payload=list(columns),
        ).points
        score = pa.array([min(point.score, 1.0) for point in found], pa.float64())
        return self._table(found, columns).append_column("score", score)

    def build(self, built: int) -> int:
        """The server makes its graph by itself; wait for it."""
        end = time.monotonic() + BUILD_S
        while str(self._call("get_collection").status) not in ("green", "CollectionStatus.GREEN"):
            if time.monotonic() > end:
                raise DataError(f"{self.place} is still not indexed after {BUILD_S:.0f} s; look at the server's log")
            time.sleep(1)
        return self.count()

    def tidy(self) -> None:
        """The server does."""

    def noted(self) -> dict[str, Any]:
        return dict(self._metadata().get(NOTES) or {})

    def note(self, values: dict[str, Any]) -> None:
        self._call("update_collection", metadata={NOTES: values})

    def _metadata(self) -> dict[str, Any]:
        return dict(self._call("get_collection").config.metadata or {})

    def _call(self, name: str, **named: Any) -> Any:
        return told(self._server, getattr(self._client, name), self._name, **named)

    def _table(self, points: Sequence[Any], columns: Sequence[str]) -> pa.Table:
        described = schema(self.facts.dim)
        values: dict[str, Any] = {
            name: pa.array([_stored(point.payload, name) for point in points], described.field(name).type)
            for name in columns
            if name != "vector"
        }
        if "vector" in columns:
            vectors = [np.asarray(point.vector, np.float32) for point in points]
            values["vector"] = pa.array(vectors, described.field("vector").type)
        return pa.table({name: values[name] for name in columns})


def _point(name: str) -> str:
    return str(uuid.uuid5(POINTS, name))


def _stored(payload: dict[str, Any], name: str) -> Any:
    return base64.b64decode(payload[name]) if name == "thumbnail" else payload[name]


def as_filter(condition: Condition) -> Any:
    """As a filter of Qdrant. Raises ConfigError for what it has no counterpart of: LIKE, and < among texts."""
    models = qdrant_library().models
    match condition:
        case Joined(word, parts):
            inner = [as_filter(part) for part in parts]
            return models.Filter(must=inner) if word == "AND" else models.Filter(should=inner)
        case IsNull(column, negated):
            return _where(models.IsEmptyCondition(is_empty=models.PayloadField(key=column)), column, negated, ())
        case In(column, values, negated):
            held = models.FieldCondition(key=column, match=models.MatchAny(any=list(values)))
            return _where(held, column, negated, (column,))
        case Compare(column, ("=" | "!=") as sign, value):
            held = models.FieldCondition(key=column, match=models.MatchValue(value=value))
            return _where(held, column, sign == "!=", (column,))
        case Compare(column, sign, value) if column == SLICE:
            limits = models.Range(**{RANGES[sign]: value})
            return models.Filter(must=[models.FieldCondition(key=column, range=limits)])
        case Compare(column) | Like(column):
            raise ConfigError(
                f"a Qdrant server compares text by =, !=, IN and NOT IN only, but the condition on {column} is "
                "another; say it with these, or search an archive in a folder"
            )


def _where(held: Any, column: str, negated: bool, known: Sequence[str]) -> Any:
    """The condition, or its negation, which as in SQL no missing value of `known` meets."""
    models = qdrant_library().models
    if not negated:
        return models.Filter(must=[held])
    missing = [models.IsEmptyCondition(is_empty=models.PayloadField(key=name)) for name in known]
    return models.Filter(must_not=[held, *missing])
