"""Random numbers by purpose: a seed and the name of what they are for give a stream of their own.

`Purpose` lists every use in mmkd. Streams are equal on every machine and in every process.
"""

import zlib
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class Purpose(StrEnum):
    """What random numbers are for. Each member is used in one place; the slash keeps it apart from phantom worlds."""

    # training
    STUDENT_WEIGHTS = "student/first weights"
    OBJECTIVE_WEIGHTS = "training/first weights of the objective"
    EPOCH = "training/order of an epoch"
    BALANCED_GROUP = "training/order of a group in balanced sampling"
    AUGMENTATION = "training/augmentation of a step"
    OBJECTIVE_STEP = "training/draws of the objective in a step"
    DROPOUT = "training/dropout of a step"
    CAPTION_BANK = "training/captions of a step for pictures without one"
    VALIDATION = "training/rank test of the validation"
    TEACHER_GATE = "training/rank test of each pair"
    CAPTION_POSTERIOR = "training/rank test of captions drawn anew"
    GIVEN_CAPTIONS = "training/captions that stand for those of a group"
    TARGETS = "training/rows and rotations of the targets"
    AUTOENCODER = "training/weights and noise of the auto-encoder"
    AUTOENCODER_ORDER = "training/order of the auto-encoder's pairs"
    LINEAR_PROJECTION = "training/random projections"
    EXPORT_CHECK = "student/images of the export's check"
    PROBE_CHECK = "adapt/images of the check of a probe"
    # teacher reliability
    RELIABILITY_ROWS = "reliability/rows of a group"
    RELIABILITY_TEST = "reliability/rank test"
    CLUSTERS = "reliability/clusters"
    STACK_ROWS = "reliability/rows of the stack of a group"
    STACK_FOLDS = "reliability/folds and rivals of the stack of a group"
    STACK_BOOTSTRAP = "reliability/bootstrap of the stack of a group"
    TRAINED_ON = "reliability/rank test of pairs that a teacher was trained on"
    NEST_ROWS = "reliability/rows from which the parts of a modality are found"
    NEST = "reliability/cells, folds and rivals of the parts of a modality"
    # images and features
    WRONG_CAPTIONS = "curation/captions that are wrong on purpose"
    DROPPED_CAPTIONS = "curation/captions that are taken away on purpose"
    EVIDENCE_PROJECTIONS = "features/projections for similar images of the evidence"
    NEAR_DUPLICATES = "features/projections for near duplicates"
    CORPUS_SAMPLE = "corpus/rows that are shown"
    # evaluation
    LINEAR_PROBE = "evaluation/linear probe of a data set"
    DIAGNOSIS = "evaluation/slides of a data set"
    SLIDE_FOLDS = "evaluation/folds of slides"
    SLIDE_PROBE = "evaluation/probe of a fold of slides"
    SLIDE_ATTENTION = "evaluation/attention of a fold of slides"
    VQA_HEAD = "evaluation/answer head"
    VQA_HEAD_WITHOUT_IMAGES = "evaluation/answer head without images"
    VQA_SHUFFLED_IMAGES = "evaluation/images shuffled among questions"
    GALLERY = "evaluation/galleries of retrieval"
    SURVIVAL_FOLDS = "evaluation/folds of patients"
    SURVIVAL_INNER_FOLDS = "evaluation/inner folds of patients"
    SURVIVAL_ATTENTION = "evaluation/attention over a patient's images"
    CHANCE = "evaluation/vectors of the model that is chance"
    SHUFFLED_WEIGHTS = "evaluation/weights shuffled"
    BOOTSTRAP = "evaluation/bootstrap of a data set"
    BOOTSTRAP_OF_DATA_SETS = "evaluation/bootstrap over data sets"
    BOOTSTRAP_OF_RANKS = "evaluation/bootstrap of ranks over settings"
    CORRUPTION = "evaluation/corruption of a picture"
    CONFORMAL_VAL = "evaluation/groups of val for the temperature and for the sets"
    # labels
    CALIBRATION_SPLIT = "labels/groups for the temperature and for the sets"
    ADAPT_OUTER_FOLDS = "adapt/outer folds"
    ADAPT_INNER_FOLDS = "adapt/inner folds of the published classifier"
    LORA_WEIGHTS = "adapt/first weights of LoRA"
    LORA_ORDER = "adapt/order of LoRA's pictures"
    LORA_HELD_OUT = "adapt/pictures that end LoRA's training"
    ADAPT_SHOTS = "adapt/draws of labels and their inner folds"
    CONFORMAL_FOLDS = "labels/folds of the conformal sets"
    ARCHIVE_QUERIES = "archive/queries that measure the recall of its index"
    ABLATION = "ablate/bootstrap over seeds and modalities"


def seed_sequence(seed: int, *purpose: str | int) -> np.random.SeedSequence:
    """The seeds of a purpose: a `Purpose`, then what distinguishes its streams: names, numbers (a step, a fold)."""
    words = tuple(zlib.crc32(part.encode()) if isinstance(part, str) else part for part in purpose)
    return np.random.SeedSequence(seed, spawn_key=words)


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """NumPy's generator of a purpose, see `seed_sequence`."""
    return np.random.Generator(np.random.Philox(seed_sequence(seed, *purpose)))


def seed_of(seed: int, *purpose: str | int) -> int:
    """A seed of 63 bits for a library that takes a number, see `seed_sequence`."""
    return int(seed_sequence(seed, *purpose).generate_state(1, np.uint64)[0] >> np.uint64(1))


def torch_generator(seed: int, *purpose: str | int) -> "torch.Generator":
    """torch's generator of a purpose, on the CPU, see `seed_sequence`."""
    import torch

    return torch.Generator().manual_seed(seed_of(seed, *purpose))
