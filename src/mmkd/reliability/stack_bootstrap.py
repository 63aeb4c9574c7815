"""Bootstrap intervals of a stack: pairs of one patient or article are drawn together.

A replicate is not fitted anew. At the fit each pair's log-likelihood is expanded to second order, and a replicate is
the maximum of its pairs' sum within the bounds: one Newton step from the fit. P parameters, N pairs, R replicates.
"""

from collections.abc import Sequence

import numpy as np

from mmkd.reliability.stack_fit import FLOOR, Prior, maximise
from mmkd.reliability.stack_likelihood import Block, per_pair
from mmkd.statistics.bootstrap import percentile_interval, plan_draws, replicate

CONFIDENCE = 0.95


def intervals(
    blocks: Sequence[Block], parameter_P: np.ndarray, prior: Prior, unit_N: np.ndarray, replicates: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile intervals of the parameters, low and high (P,). unit_N: pairs with one number are drawn together.

    parameter_P: those of the highest posterior under `prior`, which every replicate keeps.
    """
    each = per_pair(blocks, parameter_P, len(unit_N))
    draws = plan_draws([str(unit) for unit in unit_N.tolist()], None, replicates, (seed,))

    def metrics(count_RN: np.ndarray) -> dict[int, np.ndarray]:
        count_RN = count_RN.astype(np.float64)
        gradient_RP = count_RN @ each.gradient_NP + prior.pull(parameter_P)
        hessian_RPP = np.tensordot(count_RN, each.hessian_NPP, 1) - np.diag(prior.precision_P)
        moved_RP = np.array([_moved(parameter_P, *one) for one in zip(gradient_RP, hessian_RPP, strict=True)])
        return dict(enumerate(moved_RP.T))

    found = replicate(metrics, draws)
    bounds = [percentile_interval(found[place], CONFIDENCE) for place in range(len(parameter_P))]
    return np.array([one.low for one in bounds]), np.array([one.high for one in bounds])


def _moved(parameter_P: np.ndarray, gradient_P: np.ndarray, hessian_PP: np.ndarray) -> np.ndarray:
    """Where the quadratic with this gradient and Hessian at `parameter_P` is highest, within the bounds (P,)."""
    curvature, axes = np.linalg.eigh(-hessian_PP)
    curvature = np.maximum(np.abs(curvature), FLOOR * max(1.0, float(np.abs(curvature).max())))
    concave_PP = -(axes * curvature) @ axes.T

    def value(moved_P: np.ndarray) -> float:
        step_P = moved_P - parameter_P
        return float(gradient_P @ step_P + 0.5 * step_P @ concave_PP @ step_P)

    def derivatives(moved_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return gradient_P + concave_PP @ (moved_P - parameter_P), concave_PP

    return maximise(value, derivatives, parameter_P)
