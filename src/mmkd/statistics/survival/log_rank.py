"""Do groups of patients survive equally long? N patients, G groups, U distinct times."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.kaplan_meier import RiskTable, risk_table
from mmkd.statistics.survival.outcomes import Outcomes


@dataclass(frozen=True)
class LogRank:
    """statistic: chi-squared with `degrees` of freedom under equal survival; p: its upper tail, 0..1.

    groups in sorted order; observed_G, expected_G: their events seen, and expected if all groups were one.
    """

    statistic: float
    degrees: int
    p: float
    groups: tuple[str, ...]
    observed_G: Array
    expected_G: Array


def log_rank(outcomes: Outcomes, group_N: Sequence[str]) -> LogRank:
    """The log-rank test of equal survival in all groups (Mantel 1966; Peto and Peto 1972), ties hypergeometric.

    A group whose patients were all censored before the first event carries no information: it stands in the table with
    nothing expected and costs no degree of freedom. Raises ValueError where the lengths differ, DataError where fewer
    than two groups are at risk when an event happens, or the only event time takes everybody left.
    """
    from scipy.special import chdtrc  # where it is needed: recipes are read without scipy

    if len(group_N) != len(outcomes):
        raise ValueError(f"{len(group_N)} group names for {len(outcomes)} patients; expected one for each")
    groups, number_N = np.unique(np.asarray(group_N, dtype=str), return_inverse=True)
    table = risk_table(outcomes, number_N == np.arange(len(groups))[:, None])
    observed_G = table.event_BU.sum(axis=1)
    expected_G, covariance_GG = _moments(table)
    present_G = expected_G > 0
    degrees = int(present_G.sum()) - 1
    if degrees < 1:
        raise DataError(
            f"log-rank test: {degrees + 1} of {len(groups)} groups were at risk when an event happened "
            f"({int(observed_G.sum())} events); expected at least two"
        )
    if not covariance_GG.any():
        raise DataError("log-rank test: the only event time takes everybody left, so the groups cannot be told apart")
    free = np.flatnonzero(present_G)[:-1]  # the differences of all groups sum to zero
    excess = (observed_G - expected_G)[free]
    statistic = float(excess @ np.linalg.solve(covariance_GG[np.ix_(free, free)], excess))
    return LogRank(
        statistic, degrees, float(chdtrc(degrees, statistic)), tuple(groups.tolist()), observed_G, expected_G
    )


def _moments(table: RiskTable) -> tuple[Array, Array]:
    """Mean (G,) and covariance (G, G) of the groups' events, given how many happened in all at each time."""
    at_risk_U, event_U = table.at_risk_BU.sum(axis=0), table.event_BU.sum(axis=0)
    share_GU = table.at_risk_BU / at_risk_U
    spread_U = event_U * (at_risk_U - event_U) / np.maximum(at_risk_U - 1, 1)  # nobody but one at risk: 0
    covariance_GG = np.diag(share_GU @ spread_U) - (share_GU * spread_U) @ share_GU.T
    return share_GU @ event_U, covariance_GG
