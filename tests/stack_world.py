"""Pairs whose captions were drawn by the stack's own model, with known weights and a known share of wrong ones."""

from collections.abc import Sequence

import numpy as np

from mmkd.reliability.stack_likelihood import BLOCK, Block, block_of, blocks_of
from mmkd.reliability.stack_pairs import StackPairs, folds_of

CAPTIONS = 1_000
SPREAD = 0.05  # of the cosines of a teacher


def drawn_blocks(count: int, weight_T: Sequence[float], wrong: float, seed: int) -> list[Block]:
    """Blocks of `count` pairs. Each image has z of each of CAPTIONS captions, standard normal; its caption is drawn by
    (1 - wrong) softmax(sum_t w_t z_t) + wrong / CAPTIONS."""
    rng = np.random.default_rng(seed)
    blocks = []
    for row_B in np.array_split(rng.permutation(count), max(1, -(-count // BLOCK))):
        z_BCT = rng.normal(size=(len(row_B), CAPTIONS, len(weight_T)))
        logit_BC = z_BCT @ np.asarray(weight_T)
        chance_BC = np.exp(logit_BC - logit_BC.max(axis=1, keepdims=True))
        chance_BC = (1 - wrong) * chance_BC / chance_BC.sum(axis=1, keepdims=True) + wrong / CAPTIONS
        caption_B = (chance_BC.cumsum(axis=1) < rng.random((len(row_B), 1))).sum(axis=1).clip(0, CAPTIONS - 1)
        blocks.append(block_of(row_B, z_BCT[:, caption_B]))
    return blocks


def drawn_pairs(
    count: int, weight_T: Sequence[float], wrong: float, seed: int, of_unit: int = 1, folds: int = 5
) -> StackPairs:
    """A group of such pairs; `of_unit` pairs after one another are one patient."""
    unit_N = np.arange(count) // of_unit
    fold_N = folds_of(unit_N, folds, np.random.default_rng(seed))
    return StackPairs(drawn_blocks(count, weight_T, wrong, seed), np.full(len(weight_T), SPREAD), unit_N, fold_N)


def random_sides(count: int, teachers: int, seed: int, match: float = 1.0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Unit vectors of images and captions (N, 16) of each teacher; match: the image's share in the caption's."""
    rng = np.random.default_rng(seed)
    sides = []
    for _ in range(teachers):
        image = rng.normal(size=(count, 16))
        text = match * image + rng.normal(size=image.shape)
        sides.append((unit(image), unit(text)))
    return sides


def unit(value_ND: np.ndarray) -> np.ndarray:
    return np.asarray(value_ND / np.linalg.norm(value_ND, axis=1, keepdims=True))


def all_in_order(count: int, sides: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[list[Block], np.ndarray]:
    return blocks_of(sides, np.arange(count))
