"""How often the patient at higher risk has the event first: C-indices under many weightings at once.

N patients, B weightings (bootstrap replicates), E anchors of a block: patients whose event is the earlier end of pairs.

A pair is comparable where its anchor's event is known to come first: the other lives longer, or is censored at the very
time of the event. Two events at one time are not comparable. Equal risks count half. Risks are compared as they are: no
tolerance makes nearly equal ones equal.

A weight is how often a patient was drawn, so the index equals the usual one on the resample with that many copies. A
weighting that draws no comparable pair gets NaN, for the caller to count; data without any raise DataError.
"""

import numpy as np

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array, ratio
from mmkd.statistics.survival.kaplan_meier import Censoring, inverse_censoring
from mmkd.statistics.survival.outcomes import Outcomes, checked_column, checked_weights

BLOCK_CELLS = 2**22  # pairs held at once: 32 MiB, however many patients there are


def harrell_c(risk_N: Array, outcomes: Outcomes, weight_BN: Array, stratum_N: Array | None = None) -> Array:
    """Share of comparable pairs in which the higher risk has the event first, 0..1; shape (B,).

    risk_N: higher = expected earlier. stratum_N: only patients of one stratum are compared; give the fold for risks of
    cross-validation, whose models have scales of their own. Harrell et al. 1982. It depends on the censoring: see
    `uno_c`. Raises DataError without a comparable pair or with a risk that is not finite.
    """
    return _concordance(risk_N, outcomes, outcomes.event_N.astype(np.float64), weight_BN, stratum_N)


def uno_c(
    risk_N: Array,
    outcomes: Outcomes,
    curve: Censoring,
    truncation_time: float,
    weight_BN: Array,
    stratum_N: Array | None = None,
) -> Array:
    """Harrell's C with each pair weighted by 1 / G(anchor's time)^2, so censoring cancels out, 0..1; shape (B,).

    curve: the censoring distribution G, estimated from the training patients and kept under all weightings. Only events
    before truncation_time are anchors (math.inf: all): choose one at which some patients are still under observation.
    Uno et al., Statistics in Medicine 30 (2011), 1105-1117. Otherwise as `harrell_c`; also raises DataError where G is
    not known or zero at an anchor's time.
    """
    if not truncation_time > 0:
        raise ValueError(f"truncation_time is {truncation_time}; expected a time above zero")
    counted_N = outcomes.event_N & (outcomes.time_N < truncation_time)
    return _concordance(risk_N, outcomes, inverse_censoring(outcomes, curve, counted_N) ** 2, weight_BN, stratum_N)


def _concordance(
    risk_N: Array, outcomes: Outcomes, anchor_N: Array, weight_BN: Array, stratum_N: Array | None
) -> Array:
    """anchor_N: what a pair counts, by its anchor; 0 for patients that cannot be one."""
    risk_N = checked_column(risk_N, len(outcomes), "risk")
    stratum_N = _checked_strata(stratum_N, outcomes)
    weight_BN = checked_weights(weight_BN, len(outcomes))
    anchors = np.flatnonzero(anchor_N)
    block = max(1, BLOCK_CELLS // max(weight_BN.shape))
    won_B, pairs_B, comparable = np.zeros(len(weight_BN)), np.zeros(len(weight_BN)), 0
    for start in range(0, len(anchors), block):
        anchor_E = anchors[start : start + block]
        later_EN = _outlived(anchor_E, outcomes) & (stratum_N[anchor_E, None] == stratum_N)
        above_EN = risk_N[anchor_E, None] > risk_N
        equal_EN = risk_N[anchor_E, None] == risk_N
        anchor_BE = weight_BN[:, anchor_E] * anchor_N[anchor_E]
        won_B += (anchor_BE * (weight_BN @ (later_EN * (above_EN + equal_EN / 2)).T)).sum(axis=1)
        pairs_B += (anchor_BE * (weight_BN @ later_EN.T.astype(np.float64))).sum(axis=1)
        comparable += int(later_EN.sum())
    if not comparable:
        raise DataError(
            f"no comparable pair: {len(outcomes)} patients, {np.count_nonzero(outcomes.event_N)} events, "
            f"{len(anchors)} of them counted; expected an event that another patient is known to outlive"
        )
    return ratio(won_B, pairs_B)


def _outlived(anchor_E: Array, outcomes: Outcomes) -> Array:
    """Who is known to live beyond each anchor's event; bool (E, N)."""
    time_E1 = outcomes.time_N[anchor_E, None]
    outlived_EN: Array = (outcomes.time_N > time_E1) | ((outcomes.time_N == time_E1) & ~outcomes.event_N)
    return outlived_EN


def _checked_strata(stratum_N: Array | None, outcomes: Outcomes) -> Array:
    if stratum_N is None:
        return np.zeros(len(outcomes), np.int8)
    if np.shape(stratum_N) != (len(outcomes),):
        raise ValueError(f"strata have shape {np.shape(stratum_N)}; expected one for each of {len(outcomes)} patients")
    return np.asarray(stratum_N)
