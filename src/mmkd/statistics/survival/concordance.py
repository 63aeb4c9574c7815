"""C-indices: the share of comparable pairs of patients whose risks are in the right order, under many weightings.

N patients, B weightings (bootstrap replicates), E anchors of a block: patients whose event is the earlier end of pairs.

A pair is comparable where its anchor's event is known to come first: the other lives longer, or is censored at the very
time of the event. Two events at one time are not comparable. Equal risks count half. Risks are compared as they are: no
tolerance makes nearly equal ones equal.

A weight is how often a patient was drawn, so the index equals the usual one on the resample with that many copies. A
weighting that draws no comparable pair gets NaN, for the caller to count; data without any raise DataError.
"""

import math

import numpy as np

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array, ratio
from mmkd.statistics.survival.dominance import sums_before
from mmkd.statistics.survival.kaplan_meier import Censoring, inverse_censoring
from mmkd.statistics.survival.outcomes import Outcomes, checked_column, checked_weights

BLOCK_CELLS = 2**22  # pairs held at once: 32 MiB, however many patients there are
SORTED_CELLS = 2**17  # patients times weightings, sorted at once: more do not stay in a core's cache
# nanoseconds of one core, measured: of a pair, of a pair in a weighting; of a patient in a bit of the ranks, and that
# in a weighting
PAIR, WEIGHTED_PAIR, STEP, WEIGHTED_STEP = 5.0, 0.13, 60.0, 9.0


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
    anchors, (weightings, patients) = np.count_nonzero(anchor_N), weight_BN.shape
    of_pairs = anchors * (PAIR + weightings * WEIGHTED_PAIR)
    of_ranks = math.log2(1 + patients) * (STEP + weightings * WEIGHTED_STEP)
    method = by_pairs if of_pairs < of_ranks else by_ranks
    won_B, pairs_B, comparable = method(risk_N, outcomes, anchor_N, weight_BN, stratum_N)
    if not comparable:
        raise DataError(
            f"no comparable pair: {len(outcomes)} patients, {np.count_nonzero(outcomes.event_N)} events, "
            f"{anchors} of them counted; expected an event that another patient is known to outlive"
        )
    return ratio(won_B, pairs_B)


def by_pairs(
    risk_N: Array, outcomes: Outcomes, anchor_N: Array, weight_BN: Array, stratum_N: Array
) -> tuple[Array, Array, int]:
    """Weight of the pairs that are won (B,), of all comparable pairs (B,), and how many pairs are comparable.

    Every pair is looked at, as products of matrices: quicker for many weightings of few patients.
    """
    anchors = np.flatnonzero(anchor_N)
    block = max(1, BLOCK_CELLS // max(weight_BN.shape))
    won_B, pairs_B, comparable = np.zeros(len(weight_BN)), np.zeros(len(weight_BN)), 0
    for start in range(0, len(anchors), block):
        anchor_E = anchors[start : start + block]
        time_E1 = outcomes.time_N[anchor_E, None]
        # who is known to live beyond each anchor's event
        outlived_EN = (outcomes.time_N > time_E1) | ((outcomes.time_N == time_E1) & ~outcomes.event_N)
        later_EN = outlived_EN & (stratum_N[anchor_E, None] == stratum_N)
        above_EN = risk_N[anchor_E, None] > risk_N
        equal_EN = risk_N[anchor_E, None] == risk_N
        anchor_BE = weight_BN[:, anchor_E] * anchor_N[anchor_E]
        won_B += (anchor_BE * (weight_BN @ (later_EN * (above_EN + equal_EN / 2)).T)).sum(axis=1)
        pairs_B += (anchor_BE * (weight_BN @ later_EN.T.astype(np.float64))).sum(axis=1)
        comparable += int(later_EN.sum())
    return won_B, pairs_B, comparable


def by_ranks(
    risk_N: Array, outcomes: Outcomes, anchor_N: Array, weight_BN: Array, stratum_N: Array
) -> tuple[Array, Array, int]:
    """The same in N log N for each weighting, equal where sums of weights are exact, as those of counts are.

    Patients stand by stratum, then the longest observed first, so those who outlive an anchor stand before it. Ranks
    of risk fall from stratum to stratum, so none of an earlier stratum is as low as the anchor's.
    """
    stratum_N = np.unique(stratum_N, return_inverse=True)[1]
    order_N = np.lexsort((outcomes.event_N, -outcomes.time_N, stratum_N))
    stratum_N, anchor_N, weight_BN = stratum_N[order_N], anchor_N[order_N], weight_BN[:, order_N]
    risk_N = np.unique(risk_N[order_N], return_inverse=True)[1]
    rank_N = np.unique((stratum_N.max(initial=0) - stratum_N) * len(risk_N) + risk_N, return_inverse=True)[1]
    kind_N3 = np.stack([stratum_N, outcomes.time_N[order_N], outcomes.event_N[order_N]], axis=1)
    anchors = np.flatnonzero(anchor_N)
    begins_N = np.concatenate([[True], (kind_N3[1:] != kind_N3[:-1]).any(axis=1)])[: len(order_N)]
    end_E = np.maximum.accumulate(np.where(begins_N, np.arange(len(order_N)), 0))[anchors]
    first_E = np.searchsorted(stratum_N, stratum_N[anchors])  # of the stratum
    won_B, pairs_B = np.zeros(len(weight_BN)), np.zeros(len(weight_BN))
    block = max(1, SORTED_CELLS // max(1, len(order_N)))
    for start in range(0, len(weight_BN), block):
        part = slice(start, start + block)
        anchor_BE = weight_BN[part, anchors] * anchor_N[anchors]
        lower_BE, equal_BE = sums_before(rank_N, weight_BN[part], end_E, rank_N[anchors])
        before_BN1 = np.pad(np.cumsum(weight_BN[part], axis=1), ((0, 0), (1, 0)))
        won_B[part] = (anchor_BE * (lower_BE + equal_BE / 2)).sum(axis=1)
        pairs_B[part] = (anchor_BE * (before_BN1[:, end_E] - before_BN1[:, first_E])).sum(axis=1)
    return won_B, pairs_B, int((end_E - first_E).sum())


def _checked_strata(stratum_N: Array | None, outcomes: Outcomes) -> Array:
    if stratum_N is None:
        return np.zeros(len(outcomes), np.int8)
    if np.shape(stratum_N) != (len(outcomes),):
        raise ValueError(f"strata have shape {np.shape(stratum_N)}; expected one for each of {len(outcomes)} patients")
    return np.asarray(stratum_N)
