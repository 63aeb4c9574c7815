"""Pictures without captions in stage 2: each has, at every step, the caption of another pair of its group.

What the stack of the teachers says of a picture and a batch of captions does not need the picture's own caption to be
among them. Letters: N training rows, M captions of the bank, G groups, S pairs of a step (of all processes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.progress import say
from mmkd.randomness import Purpose, generator
from mmkd.reliability.table import ReliabilityTable
from mmkd.training.settings.distill import DistillSettings


@dataclass(frozen=True)
class CaptionBank:
    """The different captions of each group of the training rows, once each, as places of rows that have them.

    captioned_N: rows with a caption of their own, bool. place_M: the captions, group by group; first_N, size_N: those
    of each row's group among them.
    """

    seed: int
    captioned_N: np.ndarray
    place_M: np.ndarray
    first_N: np.ndarray
    size_N: np.ndarray

    def at(self, step: int, position_S: np.ndarray) -> np.ndarray:
        """The rows whose captions the pairs of a global step have, int64 (S,): their own, or one drawn from the bank.

        A pure function of the seed and the step, as the order of the pairs is: a run resumes from the step alone, and
        all processes draw the same.
        """
        share_S = generator(self.seed, Purpose.CAPTION_BANK, step).random(len(position_S))
        size_S = self.size_N[position_S]
        drawn_S = np.minimum((share_S * size_S).astype(np.int64), size_S - 1)  # a share near 1 may round to it
        place_S = self.place_M[self.first_N[position_S] + drawn_S]
        return np.where(self.captioned_N[position_S], position_S, place_S)


def caption_bank(captioned_N: np.ndarray, code_N: np.ndarray, group_N: np.ndarray, seed: int) -> CaptionBank | None:
    """The bank of training rows (N,); None where all have a caption. code_N: equal numbers are equal captions. Every
    group has a row with a caption.

    Of equal captions of a group the first row stands for all of them.
    """
    if captioned_N.all():
        return None
    name_G, of_N = np.unique(group_N, return_inverse=True)
    place_C = np.flatnonzero(captioned_N)
    code_C = np.asarray(code_N[place_C]).astype(np.int64)
    _, once = np.unique(of_N[place_C] * (code_C.max() + 1) + code_C, return_index=True)
    place_M = place_C[once]  # by group, then by caption
    size_G = np.bincount(of_N[place_M], minlength=len(name_G))
    first_G = np.cumsum(size_G) - size_G
    return CaptionBank(seed, captioned_N, place_M, first_G[of_N], size_G[of_N])


def trained_rows(settings: DistillSettings, corpus: Corpus, reliability: ReliabilityTable) -> np.ndarray:
    """The rows of the split `train` that stage 2 learns from. What is left out is said.

    Left out are pictures without captions where a term of the objective learns from a pair's own caption, and those of
    groups in which no teacher has a slope: nobody could say what they show.
    """
    rows = corpus.rows("train")
    captioned_N = corpus.captioned[rows]
    if captioned_N.all():
        return rows
    untold = f"{np.count_nonzero(~captioned_N):,} of {len(rows):,} pictures have no caption"
    if not settings.draws_captions:
        why = 'captionless = "nothing"' if settings.captionless == "nothing" else settings.pairs_alone
        say(f"{untold} and are left out: {why}")
        return corpus.pairs("train")
    group_N = reliability.groups(corpus)[rows]
    kept_N = captioned_N | np.isin(group_N, _known_groups(reliability, group_N, captioned_N))
    say(f"{untold}: at each step each gets one of its group, which is no evidence of what it shows")
    if left := np.count_nonzero(~kept_N):
        say(f"  but {left:,} of them, of groups without captions or without a teacher with a slope, are left out")
    return np.asarray(rows[kept_N])


def _known_groups(reliability: ReliabilityTable, group_N: np.ndarray, captioned_N: np.ndarray) -> Sequence[str]:
    """The groups with captions and a teacher that has a slope."""
    name_G = np.unique(group_N[captioned_N])
    return list(name_G[reliability.slopes(name_G).any(axis=1)])
