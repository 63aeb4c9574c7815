"""Which parts of a modality ask questions of their own: a tree of captions, divided where held-out pairs say so.

In a group of kidneys and lungs most captions name the other organ, so the fit of one stack mostly learns who knows
organs. A border in the tree stays if
* the stacks of the parts do better on held-out pairs of the parts than the stack of the whole, by more than LEAD
  standard errors and PRICE. How sharp a stack is and how many captions are wrong is fitted in the part for both, so
  what counts is the ratio of the teachers' weights. Parts in which there is nothing to learn gain nothing, and go; and
  if
* the whole's stack hardly ever takes a picture of one part for one of another. If it does, telling the parts apart is a
  part of the question, which a border would take away.

Rivals within a part are the part's own pairs. Folds cut no patient or article, and stacks are drawn towards that of the
modality. Letters: N pairs, T teachers, F folds, C cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mmkd.reliability.clusters import Leaves
from mmkd.reliability.stack_fit import FIRST_LEVEL, FIRST_WEIGHT, fit, weak_prior
from mmkd.reliability.stack_likelihood import LOWEST, blocks_of, own_z, right_captions
from mmkd.reliability.stack_pairs import StackPairs, variance_of_mean
from mmkd.reliability.stack_parts import POOLED, Whole, choose_pooling, fit_part, held_out_part

LEAD = 1.0
PRICE = (
    2.0  # nats of a border; the strength of the prior is chosen on the same held-out pairs, so chance gains something
)
MIXED = 0.2  # of a part's pictures may be taken for those of another part
STRENGTHS = (POOLED, 100.0, 10.0)  # by which a node's weights are drawn towards the ratio of the modality's
QUERIES = 1_000  # pictures of a part that are asked

Sides = Sequence[tuple[np.ndarray, np.ndarray]]  # image (N, D) and text (N, D) of each teacher


@dataclass(frozen=True)
class NestPairs:
    """The pairs of a modality from which parts are found. sides: of each teacher. unit_N, fold_N: see `StackPairs`."""

    sides: Sides
    unit_N: np.ndarray
    fold_N: np.ndarray

    def at(self, place_N: np.ndarray, generator: np.random.Generator) -> StackPairs:
        """Some of the pairs as a group of their own, on the same folds."""
        sides = [(image[place_N], text[place_N]) for image, text in self.sides]
        if len(place_N) < 2:
            return StackPairs([], np.zeros(len(sides)), np.arange(len(place_N)), np.full(len(place_N), -1))
        blocks, spread_T = blocks_of(sides, generator.permutation(len(place_N)))
        _, unit_N = np.unique(self.unit_N[place_N], return_inverse=True)
        return StackPairs(blocks, spread_T, unit_N, self.fold_N[place_N])


def slopes_of(pairs: StackPairs, parameter_P: np.ndarray) -> np.ndarray:
    """The slope of each teacher (T,) by weights in units of their spread."""
    weight_T, known_T = parameter_P[:-1], pairs.spread_T > 0
    return np.asarray(np.divide(weight_T, pairs.spread_T, out=np.zeros_like(weight_T), where=known_T))


def whole_of(name: str, pairs: StackPairs, folds: int) -> Whole:
    """The stack of a modality, on all of its pairs and without each fold."""
    start_P = np.append(np.where(pairs.spread_T > 0, FIRST_WEIGHT, 0.0), FIRST_LEVEL)
    weak = weak_prior(pairs.size)
    all_P = fit(pairs.blocks, np.ones(pairs.count), weak, start_P)
    without = [fit(pairs.blocks, (pairs.fold_N != fold).astype(float), weak, all_P) for fold in range(folds)]
    slope_FT = np.array([slopes_of(pairs, parameter_P) for parameter_P in without]).reshape(folds, -1)
    return Whole(name, slopes_of(pairs, all_P), slope_FT)


@dataclass(frozen=True)
class Node:
    """A part of the tree. place_N: its pairs. slope_FT: its stack without each fold. value_N: held-out nats. right_N:
    the probability of each pair's caption being right."""

    place_N: np.ndarray
    pairs: StackPairs
    slope_FT: np.ndarray
    value_N: np.ndarray
    right_N: np.ndarray

    def gain(self, whole: "Node") -> tuple[float, float]:
        """Nats that the own stack gains here over that of a whole that this is a part of: sum, and its variance."""
        start_FP = [np.append(slope_T * self.pairs.spread_T, FIRST_LEVEL) for slope_T in whole.slope_FT]
        more_N = self.value_N - held_out_part(self.pairs, whole.slope_FT, POOLED, start_FP)
        return float(more_N.sum()), variance_of_mean(more_N, self.pairs.unit_N) * len(more_N) ** 2


@dataclass
class NestTree:
    """The nodes of a tree of cells, each fitted once."""

    pairs: NestPairs
    whole: Whole
    cell_N: np.ndarray
    generator: np.random.Generator
    known: dict[Leaves, Node] = field(default_factory=dict)

    def of(self, leaves: Leaves) -> Node:
        if leaves not in self.known:
            place_N = np.flatnonzero(np.isin(self.cell_N, leaves))
            self.known[leaves] = self._fitted(place_N)
        return self.known[leaves]

    def _fitted(self, place_N: np.ndarray) -> Node:
        pairs = self.pairs.at(place_N, self.generator)
        start_P = np.append(self.whole.slope_T * pairs.spread_T, FIRST_LEVEL)
        start_FP = [start_P] * len(self.whole.slope_FT)
        pooling = choose_pooling(pairs, self.whole.slope_FT, start_FP, STRENGTHS)
        right_N, slopes, own_2NT = np.zeros(pairs.count), [], own_z(pairs.blocks, pairs.count)
        parameter_P = start_P
        for fold, slope_T in enumerate(self.whole.slope_FT):
            inside_N = pairs.fold_N == fold
            # a fold's fit lies next to that of the last one, so it starts there
            weight_N = (~inside_N).astype(np.float64)
            parameter_P = fit_part(pairs, weight_N, slope_T, pooling.strength, parameter_P)
            right_N[inside_N] = right_captions(own_2NT, parameter_P)[inside_N]
            slopes.append(slopes_of(pairs, parameter_P))
        return Node(place_N, pairs, np.array(slopes), pooling.held_N, right_N)

    def mixed(self, part: Leaves, whole: Leaves) -> float:
        """How often the whole's stack takes a picture of the part for one of the rest of the whole, 0..1.

        The mean probability of the captions of the rest. Pictures count by the probability of their own caption being
        right: one whose caption is wrong may well belong to the rest.
        """
        node = self.of(whole)
        slope_T, inside_N = node.slope_FT.mean(axis=0), np.isin(self.cell_N[node.place_N], part)
        asked_Q = np.flatnonzero(inside_N)[:QUERIES]
        query_Q, right_Q = node.place_N[asked_Q], node.right_N[asked_Q]
        logit_QN = np.zeros((len(query_Q), len(node.place_N)), dtype=np.float32)
        for slope, (image, text) in zip(slope_T.tolist(), self.pairs.sides, strict=True):
            logit_QN += slope * (image[query_Q].astype(np.float32) @ text[node.place_N].astype(np.float32).T)
        share_QN = np.exp(logit_QN - logit_QN.max(axis=1, keepdims=True))
        of_rest_Q = share_QN[:, ~inside_N].sum(axis=1) / share_QN.sum(axis=1)
        return float(np.average(of_rest_Q, weights=np.maximum(right_Q, LOWEST)))


def divided(tree: Sequence[tuple[int, int]], tests: NestTree) -> list[Leaves]:
    """The parts that stay, each as its cells; one part of all cells where no border does. tree: see `joins`."""
    node_leaves: list[Leaves] = [(leaf,) for leaf in range(len(tree) + 1)]
    parts = [[leaves] for leaves in node_leaves]
    for first, second in tree:
        whole, apart = node_leaves[first] + node_leaves[second], parts[first] + parts[second]
        node_leaves.append(whole)
        parts.append(apart if stays(apart, whole, tests) else [whole])
    return parts[-1]


def stays(apart: Sequence[Leaves], whole: Leaves, tests: NestTree) -> bool:
    """Whether the whole stays divided into these parts."""
    if max(tests.mixed(part, whole) for part in apart) > MIXED:
        return False
    gains, variances = zip(*(tests.of(part).gain(tests.of(whole)) for part in apart), strict=True)
    return bool(sum(gains) > PRICE + LEAD * sum(variances) ** 0.5)
