"""Maximum likelihood of a stack of teachers within its bounds: weights of at least 0, a share of wrong captions 0..1.

Projected Newton steps with an exact Hessian (Bertsekas, SIAM J. Control Optim. 20, 1982): a parameter at a bound that
the gradient pushes outwards is held there, the others take a Newton step, and steps are halved until the objective
rises. The likelihood is not concave in all parameters at once, so directions of positive curvature are turned round.
P parameters, N pairs, U units that a bootstrap draws, R its replicates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.reliability.stack_likelihood import Block, log_likelihood, per_pair

STEPS = 100
TOLERANCE = 1e-7  # nats that a further step would gain
FLOOR = 1e-6  # of the curvature, relative to the largest
RIDGE = 0.01  # on weights: bounds those of a perfect teacher, and lets equal teachers share theirs
FIRST_WEIGHT, FIRST_WRONG = 0.3, 0.3


@dataclass(frozen=True)
class Prior:
    """A normal prior of each parameter (P,): mean and precision, 0 for none. Counts once, whatever the pairs."""

    mean_P: np.ndarray
    precision_P: np.ndarray

    def value(self, parameter_P: np.ndarray) -> float:
        return float(-0.5 * self.precision_P @ (parameter_P - self.mean_P) ** 2)

    def pull(self, parameter_P: np.ndarray) -> np.ndarray:
        return np.asarray(self.precision_P * (self.mean_P - parameter_P))


def weak_prior(size: int) -> Prior:
    """RIDGE on the weights, nothing on the share of wrong captions; size: the number of parameters."""
    return Prior(np.zeros(size), np.append(np.full(size - 1, RIDGE), 0.0))


def upper_bounds(size: int) -> np.ndarray:
    return np.append(np.full(size - 1, np.inf), 1.0)


def newton_step(
    parameter_P: np.ndarray, gradient_P: np.ndarray, hessian_PP: np.ndarray, upper_P: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The step of the free parameters (P,), 0 for those that are held at a bound, and which are free (P,)."""
    held_P = ((parameter_P <= 0.0) & (gradient_P <= 0.0)) | ((parameter_P >= upper_P) & (gradient_P >= 0.0))
    free_P = ~held_P
    step_P = np.zeros_like(parameter_P)
    if free_P.any():
        curvature, axes = np.linalg.eigh(-hessian_PP[np.ix_(free_P, free_P)])
        curvature = np.maximum(np.abs(curvature), FLOOR * max(1.0, np.abs(curvature).max()))
        step_P[free_P] = axes @ ((axes.T @ gradient_P[free_P]) / curvature)
    return step_P, free_P


def maximise(
    value: Callable[[np.ndarray], float],
    derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    start_P: np.ndarray,
) -> np.ndarray:
    """The parameters (P,) of the highest value that steps from `start_P` lead to.

    value: of parameters. derivatives: gradient (P,) and Hessian (P, P).
    """
    upper_P = upper_bounds(len(start_P))
    parameter_P = np.clip(start_P, 0.0, upper_P)
    now = value(parameter_P)
    for _ in range(STEPS):
        gradient_P, hessian_PP = derivatives(parameter_P)
        step_P, _ = newton_step(parameter_P, gradient_P, hessian_PP, upper_P)
        if gradient_P @ step_P < TOLERANCE:
            return parameter_P
        share = 1.0
        while share > 1e-10:
            moved_P = np.clip(parameter_P + share * step_P, 0.0, upper_P)
            then = value(moved_P)
            if then > now + 1e-4 * float(gradient_P @ (moved_P - parameter_P)):
                break
            share /= 2
        else:
            return parameter_P
        parameter_P, now = moved_P, then
    return parameter_P


def fit(blocks: Sequence[Block], weight_N: np.ndarray, prior: Prior, start_P: np.ndarray) -> np.ndarray:
    """The parameters (P,) of the highest posterior, each pair counted weight_N times."""
    count = len(weight_N)

    def value(parameter_P: np.ndarray) -> float:
        return float(weight_N @ log_likelihood(blocks, parameter_P, count)) + prior.value(parameter_P)

    def derivatives(parameter_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, gradient_P, hessian_PP = per_pair(blocks, parameter_P, count).summed(weight_N)
        return gradient_P + prior.pull(parameter_P), hessian_PP - np.diag(prior.precision_P)

    return maximise(value, derivatives, start_P)
