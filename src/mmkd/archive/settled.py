"""Search by an index at the effort that was measured for few hits among all rows; more effort where more is asked.

A condition that few rows meet, or whose rows lie far from the query, leaves too few good candidates among those that
the measured effort looks at. So does a longer list of hits. Then the effort is doubled until the hits stay the same.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
import pyarrow as pa

from mmkd.archive.recall import ROUNDING, TOP
from mmkd.archive.store import Store
from mmkd.archive.where import Condition
from mmkd.statistics.metrics import Array


def settled(
    store: Store,
    vector_D: Array,
    k: int,
    columns: Sequence[str],
    where: Condition | None,
    effort: int,
    share: float = 1.0,
) -> pa.Table:
    """As `Store.nearest`. share: of the rows that meet `where`, in (0, 1]; the search begins with so much more effort.

    It ends where twice the effort finds no better hits, or at the greatest effort there is.
    """
    most = store.efforts[-1]
    effort = min(ceil(effort / share), most)
    found = store.nearest(vector_D, k, columns, where, effort)
    if where is None and k <= TOP:
        return found
    while effort < most:
        effort = min(2 * effort, most)
        before, found = found, store.nearest(vector_D, k, columns, where, effort)
        if not _is_better(found, before):
            break
    return found


def _is_better(table: pa.Table, other: pa.Table) -> bool:
    if len(table) != len(other):
        return len(table) > len(other)
    score_K, other_K = (np.sort(one["score"].to_numpy()) for one in (table, other))
    return bool((score_K > other_K + ROUNDING).any())
