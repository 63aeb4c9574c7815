"""Image evidence for a modality, from the features that the teachers have of a corpus already.

A teacher's zero-shot prompts are made of the corpus: the mean text vector of the captions that name a modality. The
captions of one half of the caption groups make the prompts for the pictures of the other half, so that no caption
votes for its own picture. No text tower has to run again.

Letters: N rows of the corpus, T teachers, M modalities, D a teacher's dimension, G the two halves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.corpus.evidence.caption import NAMED, caption_vote
from mmkd.corpus.evidence.image import image_votes
from mmkd.corpus.schema import Corpus
from mmkd.corpus.taxonomy import evaluated_modality
from mmkd.errors import DataError
from mmkd.features.store import TeacherFeatures

ROWS = 4096  # read at a time
MIN_CAPTIONS = 5  # that name a modality, in each half; a mean of fewer is one article's style
SILENT = -1


@dataclass(frozen=True)
class ImageEvidence:
    """What all teachers together see. modality_N: "" where none saw the picture. confidence_N: 0..1. reliability:
    teacher -> how often it chooses the modality that the caption names, each modality counting the same."""

    modality_N: np.ndarray
    confidence_N: np.ndarray
    reliability: dict[str, float]


def image_evidence(corpus: Corpus, teachers: Sequence[TeacherFeatures]) -> ImageEvidence:
    """The teachers' pooled votes on every picture of the corpus, see `image_votes`.

    Raises DataError where fewer than two modalities are named by enough captions.
    """
    names, named_N, half_N = _named(corpus)
    choice_NT = np.stack([_choices(teacher, named_N, half_N, len(names)) for teacher in teachers], axis=1)
    reliability_T = np.array([_reliability(choice_N, named_N, len(names)) for choice_N in choice_NT.T])
    modality_N, confidence_N = np.full(len(corpus), SILENT), np.zeros(len(corpus))
    for rows in _chunks(len(corpus)):
        votes_NTM = np.eye(len(names))[choice_NT[rows]]
        votes_NTM[choice_NT[rows] == SILENT] = np.nan
        modality_N[rows], confidence_N[rows] = image_votes(votes_NTM, reliability_T)
    said_N = np.array([*names, ""])[modality_N]
    return ImageEvidence(said_N, confidence_N, {t.name: float(r) for t, r in zip(teachers, reliability_T, strict=True)})


def _named(corpus: Corpus) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The modalities that enough captions name, which each row's caption names (an index, or SILENT), and its half."""
    votes = [caption_vote(caption) for caption in corpus.column("caption")]
    found_N = np.array([evaluated_modality(v.modality) if v is not None and v.trust >= NAMED else "" for v in votes])
    half_N = np.array(corpus.column("caption_group"), np.uint64) % np.uint64(2)
    names = [
        name
        for name in sorted(set(found_N) - {"", "other"})
        if min(int(((found_N == name) & (half_N == half)).sum()) for half in (0, 1)) >= MIN_CAPTIONS
    ]
    if len(names) < 2:
        raise DataError(
            f"{corpus.folder}: {len(names)} modalities are named by at least {MIN_CAPTIONS} captions in each half of "
            "the corpus, two are needed to tell pictures apart; a larger corpus has more"
        )
    place = {name: number for number, name in enumerate(names)}
    return names, np.array([place.get(name, SILENT) for name in found_N]), half_N


def _choices(teacher: TeacherFeatures, named_N: np.ndarray, half_N: np.ndarray, modalities: int) -> np.ndarray:
    """The modality that a teacher sees in each picture (N,), SILENT where it has no vectors."""
    sum_GMD = np.zeros((2, modalities, teacher.dim))
    for rows in _chunks(len(named_N)):
        _, text_ND, valid_N = teacher.take(rows)
        for half in (0, 1):
            use_N = valid_N & (named_N[rows] != SILENT) & (half_N[rows] == half)
            np.add.at(sum_GMD[half], named_N[rows][use_N], text_ND[use_N].astype(np.float64))
    prompt_GMD = sum_GMD / np.maximum(np.linalg.norm(sum_GMD, axis=2, keepdims=True), 1e-12)
    choice_N = np.full(len(named_N), SILENT)
    for rows in _chunks(len(named_N)):
        image_ND, _, valid_N = teacher.take(rows)
        other_N = 1 - half_N[rows].astype(int)
        score_NM = np.einsum("nd,nmd->nm", image_ND.astype(np.float64), prompt_GMD[other_N])
        choice_N[rows] = np.where(valid_N, score_NM.argmax(axis=1), SILENT)
    return choice_N


def _reliability(choice_N: np.ndarray, named_N: np.ndarray, modalities: int) -> float:
    """Balanced accuracy on the pictures whose captions name their modality; 0 where a teacher saw none of them."""
    seen_N = (choice_N != SILENT) & (named_N != SILENT)
    hits = [np.mean(choice_N[of] == m) for m in range(modalities) if (of := seen_N & (named_N == m)).any()]
    return float(np.mean(hits)) if hits else 0.0


def _chunks(rows: int) -> Iterator[np.ndarray]:
    for first in range(0, rows, ROWS):
        yield np.arange(first, min(first + ROWS, rows))
