"""How a query is answered with an index: at the effort that was measured, or more where more is asked. K hits.

A condition that few rows meet, or whose rows lie far from the query, leaves too few good candidates among those that
the measured effort looks at. So does a longer list of hits. Then the effort is doubled until the hits stay the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkd.archive.recall import ROUNDING, TOP
from mmkd.archive.store import Store
from mmkd.archive.where import Compare, Condition, both
from mmkd.statistics.metrics import Array

SPARE = 200  # of a patient's rows that are asked for in addition, and left out afterwards


@dataclass(frozen=True)
class Plan:
    """effort: to begin with, of `Store.nearest`. patient, spare: whose rows are left out of the hits, and how many
    there are; where there are many, `where` leaves them out."""

    effort: int | None
    where: Condition | None = None
    patient: str = ""
    spare: int = 0


def planned(store: Store, effort: int | None, where: Condition | None, exclude_patient: str) -> Plan:
    """effort: of the archive, at which TOP hits among all rows are found; None where every row is looked at."""
    plan = Plan(effort, where)
    if exclude_patient:
        own = store.count(Compare("patient", "=", exclude_patient))
        plan = (
            Plan(effort, where, exclude_patient, own)
            if own <= SPARE
            else Plan(effort, both(where, Compare("patient", "!=", exclude_patient)))
        )
    if effort is None or plan.where is None:
        return plan
    met = store.count(plan.where)
    more = None if met <= store.few_rows else min(ceil(effort * store.count() / max(met, 1)), store.efforts[-1])
    return Plan(more, plan.where, plan.patient, plan.spare)


def nearest(store: Store, vector_D: Array, k: int, columns: Sequence[str], plan: Plan) -> pa.Table:
    """As `Store.nearest`, with at least min(k, as many as there are) rows, and perhaps some more. columns: with
    `patient`, where one is left out.

    The effort ends where twice of it finds no better hits, or at the greatest there is.
    """
    asked, effort, most = k + plan.spare, plan.effort, store.efforts[-1]
    found = store.nearest(vector_D, asked, columns, plan.where, effort)
    if effort is not None and (plan.where is not None or asked > TOP):
        while effort < most:
            effort = min(2 * effort, most)
            before, found = found, store.nearest(vector_D, asked, columns, plan.where, effort)
            if not _is_better(found, before):
                break
    return found.filter(pc.not_equal(found["patient"], plan.patient)) if plan.spare else found


def _is_better(table: pa.Table, other: pa.Table) -> bool:
    if len(table) != len(other):
        return len(table) > len(other)
    score_K, other_K = (np.sort(one["score"].to_numpy()) for one in (table, other))
    return bool((score_K > other_K + ROUNDING).any())
