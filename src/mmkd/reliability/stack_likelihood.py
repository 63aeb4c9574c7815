"""The likelihood of a group's own captions under a stack of teachers, with its derivatives.

A right caption is more likely beside its image than a random one, by a factor that grows with the weighted sum of the
teachers' cosines, a = sum_t w_t z_t. A caption is right with probability 1 - e, and else a random one of the group, so
every caption at hand competes for being the own one with exp(a) + k:

    p(own) = (exp(a_own) + k) / sum over captions of (exp(a) + k)

and the same for a caption's own image. k is the factor at which right and wrong are equally likely: a caption is right
with probability exp(a_own) / (exp(a_own) + k), whose mean is 1 - e. The mixture (1 - e) softmax(a) + e / B does as well
where an image's right caption stands among the others when its own is wrong. It does not where captions are unique:
it then has to give some wrong caption the place, and answers with soft weights and no wrong captions at all.

Rivals are the other pairs of a block of at most BLOCK pairs. Where they are random pairs of the group, the best weights
do not depend on their number (as in InfoNCE, arXiv 1807.03748, 2.3), so blocks keep memory and time linear in the
pairs. A rival with an equal caption stays a rival, in both directions. Among images, counting all images of an equal
caption as right would let wrong pairs pass as right.

z are cosines divided by their spread, so that weights of teachers can be compared, less their mean along the row.
Letters: N pairs of a group, B pairs of a block, T teachers, P = T + 1 parameters: the weights w and the level
log(1 + k), in this order. All float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 128  # pairs: a caption's 127 rivals, as the rank test has them
NO_SPREAD = 1e-6  # of cosines; a teacher that gives every pair of the group the same one says nothing
LOWEST = 1e-300  # of a factor, whose logarithm is taken


@dataclass(frozen=True)
class Block:
    """Pairs that are each other's rivals. row_B: their places among the group's N pairs. z_BBT: image by caption by
    teacher, and caption by image by teacher."""

    row_B: np.ndarray
    z_BBT: tuple[np.ndarray, np.ndarray]

    def of_teacher(self, teacher: int) -> "Block":
        forward_BBT, backward_BBT = (np.ascontiguousarray(z[..., teacher : teacher + 1]) for z in self.z_BBT)
        return Block(self.row_B, (forward_BBT, backward_BBT))


@dataclass(frozen=True)
class PerPair:
    """Of each pair, the mean of both directions: log-likelihood in nats, its gradient and its Hessian."""

    value_N: np.ndarray
    gradient_NP: np.ndarray
    hessian_NPP: np.ndarray

    def summed(self, weight_N: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient (P,) and Hessian (P, P) of all pairs, each counted weight_N times."""
        return float(weight_N @ self.value_N), weight_N @ self.gradient_NP, np.tensordot(weight_N, self.hessian_NPP, 1)


def blocks_of(sides: Sequence[tuple[np.ndarray, np.ndarray]], order_N: np.ndarray) -> tuple[list[Block], np.ndarray]:
    """The blocks of a group, and each teacher's spread (T,): the standard deviation of its cosines along a row.

    sides: of each teacher, unit vectors of images and captions (N, D). order_N: a random order of the pairs, of which
    blocks are cut. spread: root of the mean variance within rows and columns. Cosines of a teacher whose spread is
    below NO_SPREAD are 0 here, and its spread 0.
    """
    rows = np.array_split(order_N, max(1, -(-len(order_N) // BLOCK)))
    cosines = [
        np.stack([image[row_B].astype(np.float64) @ text[row_B].astype(np.float64).T for image, text in sides], axis=-1)
        for row_B in rows
    ]
    variances = [(c.var(axis=0).sum(axis=0) + c.var(axis=1).sum(axis=0)) / 2 for c in cosines]
    spread_T = np.sqrt(sum(variances) / len(order_N))
    spread_T = np.where(spread_T < NO_SPREAD, 0.0, spread_T)
    scale_T = np.divide(1.0, spread_T, out=np.zeros_like(spread_T), where=spread_T > 0)
    return [block_of(row_B, c * scale_T) for row_B, c in zip(rows, cosines, strict=True)], spread_T


def block_of(row_B: np.ndarray, z_BBT: np.ndarray) -> Block:
    """The block of pairs whose cosines, divided by their spread, are z_BBT (image by caption by teacher)."""
    forward_BBT = z_BBT - z_BBT.mean(axis=1, keepdims=True)
    backward_BBT = (z_BBT - z_BBT.mean(axis=0)).transpose(1, 0, 2)
    return Block(row_B, (forward_BBT, np.ascontiguousarray(backward_BBT)))


def log_k(parameter_P: np.ndarray) -> float:
    return float(parameter_P[-1] + np.log(-np.expm1(-parameter_P[-1])))


def _factors(z_BBT: np.ndarray, parameter_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """exp(a) and exp(a) + k, both times one factor for each row that keeps them from overflowing; (B, B)."""
    logit_BB, level = z_BBT @ parameter_P[:-1], log_k(parameter_P)
    most_B1 = np.maximum(logit_BB.max(axis=1, keepdims=True), level)
    right_BB = np.exp(logit_BB - most_B1)
    return right_BB, right_BB + np.exp(level - most_B1)


def _log_own(factor_BB: np.ndarray) -> np.ndarray:
    """The log of the own key's share in its row (B,)."""
    return np.asarray(np.log(np.maximum(np.diagonal(factor_BB), LOWEST)) - np.log(factor_BB.sum(axis=1)))


def log_likelihood(blocks: Sequence[Block], parameter_P: np.ndarray, count: int) -> np.ndarray:
    """Nats of each of the `count` pairs (N,), the mean of both directions."""
    value_N = np.empty(count)
    for block in blocks:
        value_N[block.row_B] = sum(_log_own(_factors(z_BBT, parameter_P)[1]) for z_BBT in block.z_BBT) / 2
    return value_N


def guessing(blocks: Sequence[Block], count: int) -> np.ndarray:
    """Nats of each of the `count` pairs (N,) where every caption is as likely as any other."""
    value_N = np.empty(count)
    for block in blocks:
        value_N[block.row_B] = -np.log(len(block.row_B))
    return value_N


def own_z(blocks: Sequence[Block], count: int) -> np.ndarray:
    """z of each pair's own caption, forward and backward (2, N, T)."""
    found_2NT = np.empty((2, count, blocks[0].z_BBT[0].shape[-1]))
    for block in blocks:
        for side, z_BBT in enumerate(block.z_BBT):
            found_2NT[side, block.row_B] = np.diagonal(z_BBT).T
    return found_2NT


def right_captions(own_2NT: np.ndarray, parameter_P: np.ndarray) -> np.ndarray:
    """The probability of each pair's own caption being right (N,), 0..1, the mean of both directions; see `own_z`."""
    from scipy.special import expit

    return np.asarray(expit(own_2NT @ parameter_P[:-1] - log_k(parameter_P)).mean(axis=0))


def per_pair(blocks: Sequence[Block], parameter_P: np.ndarray, count: int) -> PerPair:
    """Value, gradient and Hessian of each of the `count` pairs."""
    size = len(parameter_P)
    value_N, gradient_NP, hessian_NPP = np.empty(count), np.empty((count, size)), np.empty((count, size, size))
    for block in blocks:
        (v, g, h), (value_B, gradient_BP, hessian_BPP) = (_derivatives(z_BBT, parameter_P) for z_BBT in block.z_BBT)
        value_N[block.row_B] = (v + value_B) / 2
        gradient_NP[block.row_B] = (g + gradient_BP) / 2
        hessian_NPP[block.row_B] = (h + hessian_BPP) / 2
    return PerPair(value_N, gradient_NP, hessian_NPP)


def _derivatives(z_BBT: np.ndarray, parameter_P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value (B,), gradient (B, P) and Hessian (B, P, P) of log p(own) in one direction.

    With p the softmax and t = exp(a) / (exp(a) + k) of each key, m = sum p t z and s = sum p t: the gradient is
    t z - m and s - t, with t and z of the own key; the Hessian t (1 - t) zz' - sum p t zz' + mm' between weights,
    m (1 - s) - t (1 - t) z between weights and log k, and t (1 - t) - s (1 - s) of log k. By the level, log k has the
    derivative 1 / (1 - exp(-level)).
    """
    right_BB, factor_BB = _factors(z_BBT, parameter_P)
    share_BB = right_BB / factor_BB.sum(axis=1, keepdims=True)
    own_BT, sum_B = np.diagonal(z_BBT).T, share_BB.sum(axis=1)
    trust_B = np.diagonal(right_BB) / np.maximum(np.diagonal(factor_BB), LOWEST)
    mean_BT = (share_BB[:, None, :] @ z_BBT)[:, 0]
    doubt_B = trust_B * (1.0 - trust_B)
    gradient_BP = np.column_stack([trust_B[:, None] * own_BT - mean_BT, sum_B - trust_B])
    hessian_BPP = np.empty((*gradient_BP.shape, gradient_BP.shape[1]))
    within_BTT = (z_BBT * share_BB[:, :, None]).transpose(0, 2, 1) @ z_BBT
    hessian_BPP[:, :-1, :-1] = doubt_B[:, None, None] * _square(own_BT) - within_BTT + _square(mean_BT)
    cross_BT = mean_BT * (1.0 - sum_B)[:, None] - doubt_B[:, None] * own_BT
    fall = float(np.exp(-parameter_P[-1]))
    by_level = 1.0 / (1.0 - fall)
    of_level_B = doubt_B - sum_B * (1.0 - sum_B) - fall * gradient_BP[:, -1]
    hessian_BPP[:, -1, -1] = by_level**2 * of_level_B
    hessian_BPP[:, :-1, -1] = hessian_BPP[:, -1, :-1] = by_level * cross_BT
    gradient_BP[:, -1] *= by_level
    return _log_own(factor_BB), gradient_BP, hessian_BPP


def _square(value_BT: np.ndarray) -> np.ndarray:
    return np.asarray(value_BT[:, :, None] * value_BT[:, None, :])
