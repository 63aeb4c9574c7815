"""Maximum likelihood of a stack of teachers, with weights of at least 0.

Projected Newton steps with an exact Hessian (Bertsekas, SIAM J. Control Optim. 20, 1982): a parameter at a bound that
the gradient pushes outwards is held there, the others take a Newton step, and steps are halved until the objective
rises. The likelihood is not concave everywhere, so directions of positive curvature are turned round. P parameters (see
`stack_likelihood.py`), N pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.reliability.stack_likelihood import Block, log_likelihood, per_pair

STEPS = 100
TOLERANCE = 1e-7  # nats that a further step would gain
FLOOR = 1e-6  # of the curvature, relative to the largest
LEVELS = (1e-6, 60.0)  # bounds of the level: no caption is wrong, hardly any is right
RIDGE, LEVEL_RIDGE = 0.01, 0.001  # bound what a perfect teacher would make infinite, and let equal teachers share
FIRST_WEIGHT, FIRST_LEVEL = 0.3, 0.7


@dataclass(frozen=True)
class Prior:
    """A normal prior of each parameter (P,): mean and precision, 0 for none. Counts once, whatever the pairs."""

    mean_P: np.ndarray
    precision_P: np.ndarray

    def value(self, parameter_P: np.ndarray) -> float:
        return float(-0.5 * self.precision_P @ (parameter_P - self.mean_P) ** 2)

    def pull(self, parameter_P: np.ndarray) -> np.ndarray:
        return np.asarray(self.precision_P * (self.mean_P - parameter_P))

    @property
    def matrix(self) -> np.ndarray:
        """The precision (P, P)."""
        return np.diag(self.precision_P)


@dataclass(frozen=True)
class LinePrior:
    """A normal prior of the distance of the weights from the line through 0 and `weight_T`, beside the weak one.

    It says who is to be believed more than whom, and neither how sharp the stack is nor how many captions are wrong.
    weight_T: at least one of them above 0. strength: precision of the distance.
    """

    weight_T: np.ndarray
    strength: float

    def value(self, parameter_P: np.ndarray) -> float:
        return float(-0.5 * parameter_P @ self.matrix @ parameter_P)

    def pull(self, parameter_P: np.ndarray) -> np.ndarray:
        return np.asarray(-self.matrix @ parameter_P)

    @property
    def matrix(self) -> np.ndarray:
        """The precision (P, P); its mean is 0."""
        direction_T = self.weight_T / np.linalg.norm(self.weight_T)
        precision_PP = weak_prior(len(self.weight_T) + 1).matrix
        off_line_TT = np.eye(len(direction_T)) - np.outer(direction_T, direction_T)
        precision_PP[:-1, :-1] += self.strength * off_line_TT
        return precision_PP


AnyPrior = Prior | LinePrior


def weak_prior(size: int) -> Prior:
    """RIDGE on the weights, LEVEL_RIDGE on the level; size: the number of parameters."""
    return Prior(np.zeros(size), np.append(np.full(size - 1, RIDGE), LEVEL_RIDGE))


def bounds(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest values (P,) of so many parameters."""
    return np.append(np.zeros(size - 1), LEVELS[0]), np.append(np.full(size - 1, np.inf), LEVELS[1])


def maximise(
    value: Callable[[np.ndarray], float],
    derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    start_P: np.ndarray,
) -> np.ndarray:
    """The parameters (P,) of the highest value that steps from `start_P` lead to.

    value: of parameters. derivatives: gradient (P,) and Hessian (P, P).
    """
    low_P, high_P = bounds(len(start_P))
    parameter_P = np.clip(start_P, low_P, high_P)
    now = value(parameter_P)
    for _ in range(STEPS):
        gradient_P, hessian_PP = derivatives(parameter_P)
        held_P = ((parameter_P <= low_P) & (gradient_P <= 0.0)) | ((parameter_P >= high_P) & (gradient_P >= 0.0))
        step_P = np.zeros_like(parameter_P)
        step_P[~held_P] = _newton_step(gradient_P[~held_P], hessian_PP[np.ix_(~held_P, ~held_P)])
        if gradient_P @ step_P < TOLERANCE:
            break
        share = 1.0
        while share > 1e-10:
            moved_P = np.clip(parameter_P + share * step_P, low_P, high_P)
            then = value(moved_P)
            if then > now + 1e-4 * float(gradient_P @ (moved_P - parameter_P)):
                break
            share /= 2
        else:
            break
        parameter_P, now = moved_P, then
    return np.asarray(parameter_P)


def _newton_step(gradient_F: np.ndarray, hessian_FF: np.ndarray) -> np.ndarray:
    """Uphill for the F free parameters."""
    curvature, axes = concave(hessian_FF)
    return np.asarray(axes @ ((axes.T @ gradient_F) / curvature))


def concave(hessian_FF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Downward curvatures (F,) and their axes (F, F); curvature upwards is turned round."""
    if not len(hessian_FF):
        return np.zeros(0), hessian_FF
    curvature, axes = np.linalg.eigh(-hessian_FF)
    curvature = np.abs(curvature)
    return np.maximum(curvature, FLOOR * max(1.0, float(curvature.max()))), axes


def fit(blocks: Sequence[Block], weight_N: np.ndarray, prior: AnyPrior, start_P: np.ndarray) -> np.ndarray:
    """The parameters (P,) of the highest posterior, each pair counted weight_N times."""
    count, precision_PP = len(weight_N), prior.matrix

    def value(parameter_P: np.ndarray) -> float:
        return float(weight_N @ log_likelihood(blocks, parameter_P, count)) + prior.value(parameter_P)

    def derivatives(parameter_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, gradient_P, hessian_PP = per_pair(blocks, parameter_P, count).summed(weight_N)
        return gradient_P + prior.pull(parameter_P), hessian_PP - precision_PP

    return maximise(value, derivatives, start_P)
