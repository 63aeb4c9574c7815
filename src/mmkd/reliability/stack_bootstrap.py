"""Bootstrap intervals of a stack: pairs of one patient or article are drawn together.

A replicate is not fitted anew. At the fit each pair's log-likelihood is expanded to second order, and a replicate is
the maximum of its pairs' sum within the bounds: one Newton step from the fit. P parameters, T teachers, N pairs,
R replicates.
"""

from collections.abc import Sequence

import numpy as np

from mmkd.reliability.stack_fit import AnyPrior, concave, maximise
from mmkd.reliability.stack_likelihood import Block, own_z, per_pair, right_captions
from mmkd.statistics.bootstrap import percentile_interval, plan_draws, replicate

CONFIDENCE = 0.95


def intervals(
    blocks: Sequence[Block], parameter_P: np.ndarray, prior: AnyPrior, unit_N: np.ndarray, replicates: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile intervals, low and high (T + 1,): of the weights, and last of the share of wrong captions.

    parameter_P: those of the highest posterior under `prior`, which every replicate keeps. unit_N: pairs with one
    number are drawn together.
    """
    each, own_2NT = per_pair(blocks, parameter_P, len(unit_N)), own_z(blocks, len(unit_N))
    draws = plan_draws([str(unit) for unit in unit_N.tolist()], None, replicates, (seed,))

    def metrics(count_RN: np.ndarray) -> dict[int, np.ndarray]:
        count_RN = count_RN.astype(np.float64)
        gradient_RP = count_RN @ each.gradient_NP + prior.pull(parameter_P)
        hessian_RPP = np.tensordot(count_RN, each.hessian_NPP, 1) - prior.matrix
        moved_RP = np.array([_moved(parameter_P, *one) for one in zip(gradient_RP, hessian_RPP, strict=True)])
        wrong_R = [
            1.0 - np.average(right_captions(own_2NT, moved_P), weights=count_N)
            for moved_P, count_N in zip(moved_RP, count_RN, strict=True)
        ]
        return dict(enumerate([*moved_RP[:, :-1].T, np.array(wrong_R)]))

    found = replicate(metrics, draws)
    bounds = [percentile_interval(found[place], CONFIDENCE) for place in range(len(parameter_P))]
    return np.array([one.low for one in bounds]), np.array([one.high for one in bounds])


def _moved(parameter_P: np.ndarray, gradient_P: np.ndarray, hessian_PP: np.ndarray) -> np.ndarray:
    """Where the quadratic with this gradient and Hessian at `parameter_P` is highest, within the bounds (P,)."""
    curvature, axes = concave(hessian_PP)
    concave_PP = -(axes * curvature) @ axes.T

    def value(moved_P: np.ndarray) -> float:
        step_P = moved_P - parameter_P
        return float(gradient_P @ step_P + 0.5 * step_P @ concave_PP @ step_P)

    def derivatives(moved_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return gradient_P + concave_PP @ (moved_P - parameter_P), concave_PP

    return maximise(value, derivatives, parameter_P)
