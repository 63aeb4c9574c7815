"""How much of what an exact search finds the approximate index finds. Q queries, N rows, D dimensions."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.archive.rows import as_array
from mmkd.archive.store import Store
from mmkd.randomness import Purpose, generator
from mmkd.statistics.metrics import Array

TOP = 10
AIM = 0.99
QUERIES = 200  # of each kind
QUANTILE = 1.645  # of the normal distribution at 95 %
ROUNDING = 1e-5  # of a cosine: rows as similar as the last exact hit count as found, too


@dataclass(frozen=True)
class Recall:
    """effort: of `Store.nearest`. recall: mean share of the TOP exact hits, by the kind of the queries. low: lower end
    of its one-sided 95 % interval over queries. p50_ms: median time of a query."""

    effort: int
    recall: dict[str, float]
    low: dict[str, float]
    p50_ms: float


def tuned(store: Store, queries: dict[str, Array], aim: float = AIM) -> Recall:
    """The index at the least effort at which the low recall of every kind of query reaches the aim; at the greatest
    where none does. Found by halving `Store.efforts`: recall grows with effort."""
    queries = {kind: query_QD for kind, query_QD in queries.items() if len(query_QD)}
    exact = _exact(store, queries)
    efforts, measured = list(store.efforts), dict[int, Recall]()
    first, last = 0, len(efforts) - 1
    while first < last:
        middle = (first + last) // 2
        measured[middle] = _measured(store, queries, exact, efforts[middle])
        if min(measured[middle].low.values(), default=1.0) >= aim:
            last = middle
        else:
            first = middle + 1
    return measured.get(last) or _measured(store, queries, exact, efforts[last])


def _exact(store: Store, queries: dict[str, Array]) -> dict[str, Array]:
    """Scores of the TOP exact hits of each kind of query, in one pass over the rows for all."""
    if not queries:
        return {}
    score_QK = exact_scores(store, np.concatenate(list(queries.values())))
    ends = np.cumsum([len(query_QD) for query_QD in queries.values()])[:-1]
    return dict(zip(queries, np.split(score_QK, ends), strict=True))


def _measured(store: Store, queries: dict[str, Array], exact: dict[str, Array], effort: int) -> Recall:
    recall, low, seconds = {}, {}, []
    for kind, score_QK in exact.items():
        shares = []
        for query_D, score_K in zip(queries[kind], score_QK, strict=True):
            start = time.perf_counter()
            found = store.nearest(query_D, TOP, ("id",), None, effort)["score"].to_numpy()
            seconds.append(time.perf_counter() - start)
            shares.append(np.count_nonzero(found >= score_K[-1] - ROUNDING) / len(score_K))
        share_Q = np.minimum(shares, 1)
        recall[kind] = float(share_Q.mean())
        low[kind] = recall[kind] - QUANTILE * float(share_Q.std()) / max(len(share_Q) - 1, 1) ** 0.5
    return Recall(effort, recall, low, float(np.median(seconds)) * 1e3 if seconds else 0.0)


def exact_scores(store: Store, query_QD: Array, k: int = TOP) -> Array:
    """The k largest cosines of each query among all rows, largest first: (Q, k). One pass over the rows."""
    best_QK = np.full((len(query_QD), 0), -np.inf, np.float32)
    for batch in store.scan(("vector",)):
        score_QB = query_QD @ as_array(batch["vector"], store.facts.dim).T
        both_Q = np.concatenate([best_QK, score_QB], axis=1)
        best_QK = -np.sort(-both_Q, axis=1)[:, :k] if both_Q.shape[1] <= k else -np.partition(-both_Q, k - 1)[:, :k]
    return -np.sort(-best_QK, axis=1)


def picture_queries(store: Store, count: int = QUERIES, seed: int = 0) -> Array:
    """Vectors between two pictures of the archive each, so that no query is a row, which any index would find."""
    rng = _rng(seed, "pictures")
    rows = store.count()
    drawn = np.sort(rng.choice(rows, min(rows, 2 * count), replace=False))
    parts: list[Array] = []
    start = 0
    for batch in store.scan(("vector",)):
        here = drawn[(drawn >= start) & (drawn < start + len(batch))] - start
        parts.append(as_array(batch["vector"].take(here), store.facts.dim))
        start += len(batch)
    vector_ND = np.concatenate(parts) if parts else np.empty((0, store.facts.dim), np.float32)
    vector_ND = vector_ND[rng.permutation(len(vector_ND))]
    half = len(vector_ND) // 2
    mixed_QD = 2 * vector_ND[:half] + vector_ND[half : 2 * half]
    unit_QD: Array = mixed_QD / np.linalg.norm(mixed_QD, axis=1, keepdims=True)
    return unit_QD


def captions(store: Store, count: int = QUERIES, seed: int = 0) -> Sequence[str]:
    """Different captions of the archive, drawn at random."""
    found = {text: None for batch in store.scan(("caption",)) for text in batch["caption"].to_pylist() if text}
    texts = list(found)
    rng = _rng(seed, "captions")
    return [texts[place] for place in np.sort(rng.choice(len(texts), min(count, len(texts)), replace=False))]


def _rng(seed: int, kind: str) -> np.random.Generator:
    return generator(seed, Purpose.ARCHIVE_QUERIES, kind)
