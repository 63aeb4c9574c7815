"""Zero-shot votes of teachers for the modality of every image, from the features that they have of a corpus already.

Prompts are made of the corpus: the mean text vector of the captions that name a modality, and of those
that describe a drawn figure. The captions of one half of the corpus make the prompts for the images of the
other half, and equal captions are in one half, so that none votes for its own image. No text tower has to run again.

Letters: N rows of the corpus, T teachers, M modalities, D a teacher's dimension, G the two halves, C scales, S bins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, softmax

from mmkd.curation.modality.votes import NAMED, agree
from mmkd.errors import DataError
from mmkd.features.evidence.corpus_votes import NAMES, parent_of
from mmkd.features.store import TeacherFeatures

BINS = 10  # of support, equally wide
SMOOTHING = 10.0  # rows by which a share is drawn to the coarser one
ROWS = 4096  # read at a time
SCALES = np.geomspace(1, 1000, 31)  # of logits; a teacher's is the one under which the captions are most probable
SILENT = -1


def pooled(support_TNM: np.ndarray, weight_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The modality (N,) that the teachers support most, -1 where none has a vote, and its support (N,), 0..1.

    support_TNM: probabilities, NaN where a teacher has no vector of the image. They are averaged with the teachers'
    weights (linear opinion pool), which lets teachers that disagree lower the support. It is no calibrated probability:
    see `trusted`. Raises ValueError when the shapes do not fit."""
    if support_TNM.ndim != 3 or weight_T.shape != support_TNM.shape[:1]:
        raise ValueError(f"support {support_TNM.shape} and weights {weight_T.shape}; expected (T, N, M) and (T,)")
    weight_TN = np.where(np.isnan(support_TNM).any(axis=2), 0.0, weight_T[:, None])
    total_N = weight_TN.sum(axis=0)
    sum_NM = np.einsum("tn,tnm->nm", weight_TN, np.nan_to_num(support_TNM))
    pooled_NM = sum_NM / np.where(total_N > 0, total_N, 1)[:, None]
    voted_N = total_N > 0
    return np.where(voted_N, pooled_NM.argmax(axis=1), -1), np.where(voted_N, pooled_NM.max(axis=1), 0.0)


def above_chance(accuracy_T: np.ndarray, modalities: int) -> np.ndarray:
    """Weights (T,), 0..1: what balanced accuracy has above chance 1 / M, so that a guesser has no weight."""
    chance = 1 / modalities
    return np.asarray(np.clip((accuracy_T - chance) / (1 - chance), 0, 1))


def bin_of(support_N: np.ndarray) -> np.ndarray:
    """The bin of support (N,), 0..BINS - 1; a rounding error of the last digits moves no row."""
    return np.clip(np.floor(np.round(support_N * BINS, 6)), 0, BINS - 1).astype(np.int8)


@dataclass(frozen=True)
class Trust:
    """How often a vote for a modality with such a support is right. rows_MS, right_MS: counted against captions.
    trust_MS: 0..NAMED. speaks_MS: whether such votes count at all."""

    rows_MS: np.ndarray
    right_MS: np.ndarray
    trust_MS: np.ndarray
    speaks_MS: np.ndarray


def trusted(rows_MS: np.ndarray, right_MS: np.ndarray, floor: float, min_rows: int) -> Trust:
    """Shares right, each drawn to that of its modality, and these to that of all, by SMOOTHING rows; of all rows
    together the share is (right + 1) / (rows + 2) (Laplace). They are multiplied by NAMED, how often captions are right
    themselves: a vote that always agrees with captions is as good as they are, and no better.

    A modality with votes in fewer than `min_rows` rows has no vote, nor have votes that are trusted less than
    `floor`.
    """
    overall = (right_MS.sum() + 1) / (rows_MS.sum() + 2)
    rows_M1, right_M1 = rows_MS.sum(axis=1, keepdims=True), right_MS.sum(axis=1, keepdims=True)
    share_M1 = (right_M1 + SMOOTHING * overall) / (rows_M1 + SMOOTHING)
    trust_MS = NAMED * (right_MS + SMOOTHING * share_M1) / (rows_MS + SMOOTHING)
    return Trust(rows_MS, right_MS, trust_MS, (trust_MS >= floor) & (rows_M1 >= min_rows))


@dataclass(frozen=True)
class Candidates:
    """The modalities among which teachers choose. names: M of them. known_N: what a row's image is known to show, a
    place in `names`, SILENT where that is not known or no candidate. half_N: 0 or 1."""

    names: list[str]
    known_N: np.ndarray
    half_N: np.ndarray


@dataclass(frozen=True)
class ZeroShotTeacher:
    """A teacher as a classifier of modalities. prompt_GMD: unit vectors from the captions of each half, zero where it
    has none. scale: of its logits. rows_M: that are known to show a modality; right_M: those of them that it classifies
    so."""

    teacher: TeacherFeatures
    prompt_GMD: np.ndarray
    scale: float
    right_M: np.ndarray
    rows_M: np.ndarray

    @property
    def accuracy(self) -> float:
        """Balanced, 0..1: every modality counts the same; 0 without any."""
        known_M = self.rows_M > 0
        return float((self.right_M[known_M] / self.rows_M[known_M]).mean()) if known_M.any() else 0.0

    def support(self, first: int, stop: int, half_N: np.ndarray) -> np.ndarray:
        """Probabilities (N, M) by prompts of the other half; NaN where it has no vector of the image."""
        image_ND, valid_N = self.teacher.block("image", first, stop)
        support_NM: np.ndarray = softmax(self.scale * _scores(image_ND, self.prompt_GMD, half_N), axis=1)
        support_NM[~valid_N] = np.nan
        return support_NM


def candidates_of(known_N: np.ndarray, half_N: np.ndarray, is_fine: bool, min_captions: int) -> Candidates:
    """The modalities that enough captions of both halves name; finer ones count as their parents unless `is_fine`.

    known_N: places in NAMES, 0 for none. Raises DataError where fewer than two modalities are left.
    """
    broad = [name if is_fine else parent_of(name) for name in NAMES]
    place_of = np.array([NAMES.index(name) for name in broad])
    folded_N = place_of[known_N]
    count_GP = np.stack([np.bincount(folded_N[half_N == half], minlength=len(NAMES)) for half in (0, 1)])
    chosen = [place for place in range(1, len(NAMES)) if count_GP[:, place].min() >= min_captions]
    if len(chosen) < 2:
        raise DataError(
            f"{len(chosen)} modalities are named by at least {min_captions} captions in each half of the corpus, two "
            "are needed for a classifier; leave the section [evidence] out, or curate a larger corpus"
        )
    lookup = np.full(len(NAMES), SILENT, np.int8)
    lookup[chosen] = np.arange(len(chosen))
    return Candidates([NAMES[place] for place in chosen], lookup[folded_N], half_N)


def classifier(teacher: TeacherFeatures, candidates: Candidates) -> ZeroShotTeacher:
    """Prompts, scale and accuracy of a teacher; all but the prompts are measured by prompts of the other half."""
    prompt_GMD = _prompts(teacher, candidates)
    loss_MC, right_M, rows_M = np.zeros((len(candidates.names), len(SCALES))), *np.zeros((2, len(candidates.names)))
    if (np.linalg.norm(prompt_GMD, axis=2) > 0).sum(axis=1).min() < 2:
        return ZeroShotTeacher(teacher, prompt_GMD, 1.0, right_M, rows_M)
    for first, stop in _blocks(len(candidates.known_N)):
        image_ND, valid_N = teacher.block("image", first, stop)
        known_N, half_N = candidates.known_N[first:stop], candidates.half_N[first:stop]
        use_N = valid_N & (known_N != SILENT)
        score_NM, truth_N = _scores(image_ND[use_N], prompt_GMD, half_N[use_N]), known_N[use_N]
        np.add.at(loss_MC, truth_N, _losses(score_NM, truth_N))
        np.add.at(right_M, truth_N, score_NM.argmax(axis=1) == truth_N)
        np.add.at(rows_M, truth_N, 1)
    known_M = rows_M > 0
    if not known_M.any():
        return ZeroShotTeacher(teacher, prompt_GMD, 1.0, right_M, rows_M)
    loss_C = (loss_MC[known_M] / rows_M[known_M, None]).mean(axis=0)
    return ZeroShotTeacher(teacher, prompt_GMD, float(SCALES[loss_C.argmin()]), right_M, rows_M)


def classified(classifiers: Sequence[ZeroShotTeacher], candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """By all teachers together: the modality (N,), a place in `names` or SILENT, and its bin of support (N,)."""
    weight_T = above_chance(np.array([one.accuracy for one in classifiers]), len(candidates.names))
    choice_N, bin_N = np.full(len(candidates.known_N), SILENT, np.int8), np.zeros(len(candidates.known_N), np.int8)
    weighted = [one for one, weight in zip(classifiers, weight_T, strict=True) if weight > 0]
    weight_T = weight_T[weight_T > 0]
    for first, stop in _blocks(len(choice_N)) if weighted else ():
        support_TNM = np.stack([one.support(first, stop, candidates.half_N[first:stop]) for one in weighted])
        choice_N[first:stop], support_N = pooled(support_TNM, weight_T)
        bin_N[first:stop] = bin_of(support_N)
    return choice_N, bin_N


def counted_right(
    choice_N: np.ndarray, bin_N: np.ndarray, named_N: np.ndarray, candidates: Candidates
) -> tuple[np.ndarray, np.ndarray]:
    """Of each modality and bin: rows that are known, and those of them that are classified right, (M, S) each.

    named_N: places in NAMES, 0 for none; a modality that is no candidate counts too, as an error.
    """
    fits_MP = np.array([[agree(name, named) for named in NAMES] for name in candidates.names])
    use_N = (choice_N != SILENT) & (named_N > 0)
    choice_n, bin_n, named_n = choice_N[use_N], bin_N[use_N], named_N[use_N]
    rows_MS, right_MS = np.zeros((2, len(candidates.names), BINS))
    np.add.at(rows_MS, (choice_n, bin_n), 1)
    np.add.at(right_MS, (choice_n, bin_n), fits_MP[choice_n, named_n])
    return rows_MS, right_MS


def _prompts(teacher: TeacherFeatures, candidates: Candidates) -> np.ndarray:
    sum_GMD = np.zeros((2, len(candidates.names), teacher.dim))
    for first, stop in _blocks(len(candidates.known_N)):
        text_ND, valid_N = teacher.block("text", first, stop)
        known_N, half_N = candidates.known_N[first:stop], candidates.half_N[first:stop]
        for half in (0, 1):
            use_N = valid_N & (known_N != SILENT) & (half_N == half)
            of_MN = known_N[use_N] == np.arange(len(candidates.names))[:, None]
            sum_GMD[half] += of_MN.astype(np.float64) @ text_ND[use_N].astype(np.float64)
    return np.asarray(sum_GMD / np.maximum(np.linalg.norm(sum_GMD, axis=2, keepdims=True), 1e-12))


def _scores(image_ND: np.ndarray, prompt_GMD: np.ndarray, half_N: np.ndarray) -> np.ndarray:
    """Cosines (N, M) with the prompts of the other half; -inf with a prompt that is missing."""
    score_NGM = np.einsum("nd,gmd->ngm", image_ND.astype(np.float64), prompt_GMD, optimize=True)
    score_NGM[:, ~prompt_GMD.any(axis=2)] = -np.inf
    return np.asarray(score_NGM[np.arange(len(image_ND)), 1 - half_N.astype(int)])


def _losses(score_NM: np.ndarray, truth_N: np.ndarray) -> np.ndarray:
    """Cross-entropies (N, C) of the known modalities at each scale; of one without a prompt, that of a guess."""
    logit_CNM = SCALES[:, None, None] * score_NM
    total_CN = logsumexp(logit_CNM, axis=2)
    own_CN = logit_CNM[:, np.arange(len(score_NM)), truth_N]
    loss_CN = np.where(np.isfinite(own_CN), total_CN - own_CN, np.log(score_NM.shape[1]))
    return np.ascontiguousarray(loss_CN.T)


def _blocks(rows: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + ROWS, rows)) for first in range(0, rows, ROWS))
