"""The likelihood of a group's own captions under a stack of teachers, with its derivatives.

A pair's own caption is right with probability 1 - e, and is then one of the captions at hand with the softmax of the
weighted sum of the teachers' cosines; otherwise it is any of them at random:

    p(own) = (1 - e) * sum over captions with the own text of softmax(sum_t w_t z_t) + e * share of such captions

and the same for a caption's own image. z are cosines divided by their spread, so that weights of teachers can be
compared. Rivals are the other pairs of a block of at most BLOCK pairs. Where captions are draws of the group, the
best weights do not depend on the number of rivals (as in InfoNCE, arXiv 1807.03748, 2.3), so blocks keep memory and
time linear in the pairs. Letters: N pairs of a group, B pairs of a block, T teachers, P = T + 1 parameters: the weights
w and the share e of wrong captions, in this order. All float64.
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
    teacher. same_BB: whether two pairs have the same caption."""

    row_B: np.ndarray
    z_BBT: np.ndarray
    same_BB: np.ndarray

    def of_teacher(self, teacher: int) -> "Block":
        return Block(self.row_B, np.ascontiguousarray(self.z_BBT[..., teacher : teacher + 1]), self.same_BB)


@dataclass(frozen=True)
class PerPair:
    """Of each pair, the mean of both directions: log-likelihood in nats, its gradient and its Hessian."""

    value_N: np.ndarray
    gradient_NP: np.ndarray
    hessian_NPP: np.ndarray

    def summed(self, weight_N: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient (P,) and Hessian (P, P) of all pairs, each counted weight_N times."""
        return float(weight_N @ self.value_N), weight_N @ self.gradient_NP, np.tensordot(weight_N, self.hessian_NPP, 1)


def blocks_of(
    sides: Sequence[tuple[np.ndarray, np.ndarray]], caption_N: np.ndarray, order_N: np.ndarray
) -> tuple[list[Block], np.ndarray]:
    """The blocks of a group, and each teacher's spread (T,): the standard deviation of its cosines along a row.

    sides: of each teacher, unit vectors of images and captions (N, D). caption_N: equal for equal captions. order_N:
    a random order of the pairs, of which blocks are cut. spread: root of the mean variance within rows and columns.
    Cosines of a teacher whose spread is below NO_SPREAD are 0 here, and its spread 0.
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
    found = [
        Block(row_B, (c - c.mean(axis=(0, 1))) * scale_T, caption_N[row_B][:, None] == caption_N[row_B])
        for row_B, c in zip(rows, cosines, strict=True)
    ]
    return found, spread_T


@dataclass(frozen=True)
class _Direction:
    """One direction of a block, B queries by B keys, at some parameters.

    chosen_BB: the softmax; own_BB: the softmax among the keys with the own caption. right_B: the stack's probability of
    these keys; base_B: their share.
    """

    z_BBT: np.ndarray
    same_BB: np.ndarray
    chosen_BB: np.ndarray
    own_BB: np.ndarray
    right_B: np.ndarray
    base_B: np.ndarray
    wrong: float

    def likelihood(self) -> np.ndarray:
        """Of each query's own caption (B,)."""
        return (1.0 - self.wrong) * self.right_B + self.wrong * self.base_B

    def derivatives(self) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (B, P) and Hessian (B, P, P) of log(likelihood).

        With r the posterior of the own caption being right and d the mean z of the own captions less that of all, the
        gradient is r d by the weights; the Hessian there r (1 - r) d d' + r (covariance of z among the own captions
        less that among all).
        """
        likelihood_B = self.likelihood()
        trust_B = (1.0 - self.wrong) * self.right_B / likelihood_B
        own_BT, all_BT = _mean(self.own_BB, self.z_BBT), _mean(self.chosen_BB, self.z_BBT)
        more_BT = own_BT - all_BT
        by_wrong_B = (self.base_B - self.right_B) / likelihood_B
        gradient_BP = np.column_stack([trust_B[:, None] * more_BT, by_wrong_B])
        moved_BBT = self.z_BBT * (self.own_BB - self.chosen_BB)[:, :, None]
        spread_BTT = moved_BBT.transpose(0, 2, 1) @ self.z_BBT - _square(own_BT) + _square(all_BT)
        hessian_BPP = np.empty((*gradient_BP.shape, gradient_BP.shape[1]))
        hessian_BPP[:, :-1, :-1] = trust_B[:, None, None] * (
            spread_BTT + (1.0 - trust_B)[:, None, None] * _square(more_BT)
        )
        cross_BT = (-self.right_B * self.base_B / likelihood_B**2)[:, None] * more_BT
        hessian_BPP[:, :-1, -1] = hessian_BPP[:, -1, :-1] = cross_BT
        hessian_BPP[:, -1, -1] = -(by_wrong_B**2)
        return gradient_BP, hessian_BPP

    def of_keys(self) -> np.ndarray:
        """How the gradient of all other queries changes with how often each key is there (B, P)."""
        likelihood_B1 = self.likelihood()[:, None]
        right_B1, base_B1, wrong = self.right_B[:, None], self.base_B[:, None], self.wrong
        own_BT, all_BT = _mean(self.own_BB, self.z_BBT), _mean(self.chosen_BB, self.z_BBT)
        trust_B1 = (1.0 - wrong) * right_B1 / likelihood_B1
        same_BB = self.same_BB
        right_BB = self.chosen_BB * (same_BB - right_B1)  # d right / d count of a key, and so on
        base_BB = (same_BB - base_B1) / len(same_BB)
        trust_BB = (1.0 - wrong) * wrong * (base_B1 * right_BB - right_B1 * base_BB) / likelihood_B1**2
        by_wrong_BB = base_BB - right_BB
        by_wrong_BB -= (base_B1 - right_B1) * ((1.0 - wrong) * right_BB + wrong * base_BB) / likelihood_B1
        by_wrong_BB /= likelihood_B1
        own_BB, chosen_BB = trust_B1 * self.own_BB, trust_B1 * self.chosen_BB
        for value_BB in (trust_BB, by_wrong_BB, own_BB, chosen_BB):
            np.fill_diagonal(value_BB, 0.0)
        moved_BT = _mean((own_BB - chosen_BB).T, self.z_BBT.transpose(1, 0, 2))
        moved_BT += trust_BB.T @ (own_BT - all_BT) - own_BB.T @ own_BT + chosen_BB.T @ all_BT
        return np.column_stack([moved_BT, by_wrong_BB.sum(axis=0)])


def _mean(share_BB: np.ndarray, z_BBT: np.ndarray) -> np.ndarray:
    return np.asarray((share_BB[:, None, :] @ z_BBT)[:, 0])


def _square(value_BT: np.ndarray) -> np.ndarray:
    return np.asarray(value_BT[:, :, None] * value_BT[:, None, :])


def _directions(block: Block, parameter_P: np.ndarray) -> tuple[_Direction, _Direction]:
    logit_BB, wrong = block.z_BBT @ parameter_P[:-1], float(parameter_P[-1])
    return (
        _direction(block.z_BBT, logit_BB, block.same_BB, wrong),
        _direction(block.z_BBT.transpose(1, 0, 2), logit_BB.T, block.same_BB, wrong),  # `same` is symmetric
    )


def _direction(z_BBT: np.ndarray, logit_BB: np.ndarray, same_BB: np.ndarray, wrong: float) -> _Direction:
    chosen_BB = np.exp(logit_BB - logit_BB.max(axis=1, keepdims=True))
    chosen_BB /= chosen_BB.sum(axis=1, keepdims=True)
    own_BB = chosen_BB * same_BB
    right_B = np.maximum(own_BB.sum(axis=1), LOWEST)
    return _Direction(z_BBT, same_BB, chosen_BB, own_BB / right_B[:, None], right_B, same_BB.mean(axis=1), wrong)


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
        value_N[block.row_B] = np.log(block.same_BB.mean(axis=1))
    return value_N


def as_rivals(blocks: Sequence[Block], parameter_P: np.ndarray, count: int) -> np.ndarray:
    """How the gradient of the others' likelihood changes with how often each pair is among their rivals (N, P)."""
    found_NP = np.empty((count, len(parameter_P)))
    for block in blocks:
        forward, backward = _directions(block, parameter_P)
        found_NP[block.row_B] = (forward.of_keys() + backward.of_keys()) / 2
    return found_NP


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
