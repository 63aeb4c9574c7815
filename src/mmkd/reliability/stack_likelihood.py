"""The likelihood of a group's own captions under a stack of teachers, with its derivatives.

A pair's own caption is right with probability 1 - e. It then is one of the captions at hand with the softmax of the
weighted sum of the teachers' cosines; otherwise it is any of them at random:

    p(own) = (1 - e) * softmax(sum_t w_t z_t)[own] + e / B

and the same for a caption's own image. z are cosines divided by their spread, so that weights of teachers can be
compared. Rivals are the other pairs of a block of at most BLOCK pairs. Where they are random pairs of the group, the
best weights do not depend on their number (as in InfoNCE, arXiv 1807.03748, 2.3), so blocks keep memory and time linear
in the pairs. A rival with an equal caption stays a rival, in both directions. Among captions, counting equal ones
together multiplies every p(own) by their number, which changes no fit. Among images it would make the images of all
pairs with that caption right ones, so that wrong pairs pass as right: the share of wrong captions came out as .20
where it was .42.

Letters: N pairs of a group, B pairs of a block, T teachers, P = T + 1 parameters: the weights w and the share e of
wrong captions, in this order. All float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 128  # pairs: a caption's 127 rivals, as the rank test has them
NO_SPREAD = 1e-6  # of cosines; a teacher that gives every pair of the group the same one says nothing
LOWEST = 1e-300  # of a probability, whose logarithm is taken


@dataclass(frozen=True)
class Block:
    """Pairs that are each other's rivals. row_B: their places among the group's N pairs. z_BBT: image by caption by
    teacher."""

    row_B: np.ndarray
    z_BBT: np.ndarray

    def of_teacher(self, teacher: int) -> "Block":
        return Block(self.row_B, np.ascontiguousarray(self.z_BBT[..., teacher : teacher + 1]))


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
    found = [Block(row_B, (c - c.mean(axis=(0, 1))) * scale_T) for row_B, c in zip(rows, cosines, strict=True)]
    return found, spread_T


@dataclass(frozen=True)
class _Direction:
    """One direction of a block, B queries by B keys, at some parameters; the own key of query b is b.

    chosen_BB: the softmax. wrong: e.
    """

    z_BBT: np.ndarray
    chosen_BB: np.ndarray
    wrong: float

    def right(self) -> np.ndarray:
        """The stack's probability of the own key (B,)."""
        return np.maximum(np.diagonal(self.chosen_BB), LOWEST)

    def likelihood(self) -> np.ndarray:
        """Of each query's own key (B,)."""
        return np.asarray((1.0 - self.wrong) * self.right() + self.wrong / len(self.chosen_BB))

    def trust(self) -> np.ndarray:
        """The posterior of the own key being right (B,), 0..1."""
        return (1.0 - self.wrong) * self.right() / self.likelihood()

    def more(self) -> tuple[np.ndarray, np.ndarray]:
        """z of the own key less the mean of all, and that mean; (B, T) both."""
        mean_BT = (self.chosen_BB[:, None, :] @ self.z_BBT)[:, 0]
        return np.diagonal(self.z_BBT).T - mean_BT, mean_BT

    def derivatives(self) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (B, P) and Hessian (B, P, P) of log(likelihood).

        With r the posterior of the own key being right and d the z of the own key less the mean of all, the gradient is
        r d by the weights; the Hessian there is r (1 - r) d d' - r covariance of z.
        """
        trust_B, likelihood_B, right_B = self.trust(), self.likelihood(), self.right()
        base = 1.0 / len(self.chosen_BB)
        more_BT, mean_BT = self.more()
        by_wrong_B = (base - right_B) / likelihood_B
        gradient_BP = np.column_stack([trust_B[:, None] * more_BT, by_wrong_B])
        covariance_BTT = (self.z_BBT * self.chosen_BB[:, :, None]).transpose(0, 2, 1) @ self.z_BBT - _square(mean_BT)
        hessian_BPP = np.empty((*gradient_BP.shape, gradient_BP.shape[1]))
        inner_BTT = (1.0 - trust_B)[:, None, None] * _square(more_BT) - covariance_BTT
        hessian_BPP[:, :-1, :-1] = trust_B[:, None, None] * inner_BTT
        cross_BT = (-right_B * base / likelihood_B**2)[:, None] * more_BT
        hessian_BPP[:, :-1, -1] = hessian_BPP[:, -1, :-1] = cross_BT
        hessian_BPP[:, -1, -1] = -(by_wrong_B**2)
        return gradient_BP, hessian_BPP


def _square(value_BT: np.ndarray) -> np.ndarray:
    return np.asarray(value_BT[:, :, None] * value_BT[:, None, :])


def _directions(block: Block, parameter_P: np.ndarray) -> tuple[_Direction, _Direction]:
    logit_BB, wrong = block.z_BBT @ parameter_P[:-1], float(parameter_P[-1])
    backward = _Direction(block.z_BBT.transpose(1, 0, 2), _softmax(logit_BB.T), wrong)
    return _Direction(block.z_BBT, _softmax(logit_BB), wrong), backward


def _softmax(logit_BB: np.ndarray) -> np.ndarray:
    chosen_BB = np.exp(logit_BB - logit_BB.max(axis=1, keepdims=True))
    return np.asarray(chosen_BB / chosen_BB.sum(axis=1, keepdims=True))


def log_likelihood(blocks: Sequence[Block], parameter_P: np.ndarray, count: int) -> np.ndarray:
    """Nats of each of the `count` pairs (N,), the mean of both directions."""
    value_N = np.empty(count)
    for block in blocks:
        value_N[block.row_B] = sum(np.log(side.likelihood()) for side in _directions(block, parameter_P)) / 2
    return value_N


def guessing(blocks: Sequence[Block], count: int) -> np.ndarray:
    """Nats of each of the `count` pairs (N,) where every caption is as likely as any other."""
    value_N = np.empty(count)
    for block in blocks:
        value_N[block.row_B] = -np.log(len(block.row_B))
    return value_N


def per_pair(blocks: Sequence[Block], parameter_P: np.ndarray, count: int) -> PerPair:
    """Value, gradient and Hessian of each of the `count` pairs."""
    size = len(parameter_P)
    value_N, gradient_NP, hessian_NPP = np.empty(count), np.empty((count, size)), np.empty((count, size, size))
    for block in blocks:
        forward, backward = _directions(block, parameter_P)
        (one_BP, one_BPP), (other_BP, other_BPP) = forward.derivatives(), backward.derivatives()
        value_N[block.row_B] = (np.log(forward.likelihood()) + np.log(backward.likelihood())) / 2
        gradient_NP[block.row_B] = (one_BP + other_BP) / 2
        hessian_NPP[block.row_B] = (one_BPP + other_BPP) / 2
    return PerPair(value_N, gradient_NP, hessian_NPP)
