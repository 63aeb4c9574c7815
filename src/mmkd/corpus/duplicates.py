"""Exact duplicates over the whole corpus, in the memory of two small digests a record."""

import hashlib

import numpy as np
import pyarrow as pa

from mmkd.corpus.records import Reason, Rejected

COLUMNS = ("id", "source", "where", "caption", "sha256")


def mark_duplicates(table: pa.Table, ids: set[bytes], pairs: set[bytes]) -> tuple[np.ndarray, list[Rejected]]:
    """Which rows (bool) of a table of checked pairs to keep, and why not the others.

    An id may occur once, and so may a pair of image bytes and cleaned caption; the first is kept. The same image with
    another caption stays. `ids` and `pairs` hold what earlier tables kept; what this one keeps is added to them.
    """
    rows = table.select(COLUMNS).to_pylist()
    keep = np.ones(len(rows), bool)
    rejected = []
    for number, row in enumerate(rows):
        identity, pair = _digest(row["id"]), _digest(row["sha256"] + row["caption"])
        if (bad := _duplicated(row, identity in ids, pair in pairs)) is not None:
            keep[number] = False
            rejected.append(bad)
            continue
        ids.add(identity)
        pairs.add(pair)
    return keep, rejected


def _duplicated(row: dict[str, str], known_id: bool, known_pair: bool) -> Rejected | None:
    if not (known_id or known_pair):
        return None
    reason = Reason.DUPLICATE_ID if known_id else Reason.DUPLICATE_PAIR
    what = f"id {row['id']}" if known_id else f"image {row['sha256'][:16]} and caption"
    return Rejected(row["source"], row["where"], row["id"], reason, f"an earlier record has the same {what}")


def _digest(text: str) -> bytes:
    """128 bits: among 100 million records two collide with a probability of 1e-23."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
