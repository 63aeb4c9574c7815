"""Pictures that a corpus must not hold, because models are evaluated on them; M pictures, V views, N records."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmkd.corpus.hamming import Array, within


@dataclass(frozen=True)
class Avoided:
    """Pictures of evaluation sets. names: of each, set and sample. digests: SHA-256 of the bytes that the corpus would
    store. view_MV: perceptual hashes of its views, the first as it is. views: their names."""

    names: list[str]
    digests: list[str]
    view_MV: Array
    views: list[str]


Avoid = Callable[[], Avoided]
"""Called once, when the corpus is really made: it reads all the pictures."""


def nothing() -> Avoided:
    """No evaluation sets are given."""
    return Avoided([], [], np.empty((0, 1), np.uint64), ["as it is"])


def contaminated(digest_matches: dict[int, int], hash_N: Array, avoided: Avoided, radius: int) -> dict[int, str]:
    """Record -> which picture it shows, for records to be dropped.

    digest_matches: record -> place of the picture whose bytes it has. hash_N: perceptual hashes of the records. Of
    several pictures within `radius` bits the nearest is told, then the first.
    """
    count = len(avoided.views)
    pairs = within(avoided.view_MV.ravel(), hash_N, radius)
    nearest: dict[int, tuple[int, int]] = {}
    for query, record, distance in zip(
        pairs.query_P.tolist(), pairs.key_P.tolist(), pairs.distance_P.tolist(), strict=True
    ):
        nearest[record] = min(nearest.get(record, (distance, query)), (distance, query))
    found = {
        record: f"{distance} bits of the perceptual hash from {avoided.names[query // count]}, "
        f"{avoided.views[query % count]}"
        for record, (distance, query) in nearest.items()
    }
    return found | {record: f"the image of {avoided.names[place]}" for record, place in digest_matches.items()}
