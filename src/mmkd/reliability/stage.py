"""The stage `reliability`: measure every teacher on every modality of the corpus, and print the table."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.features.evidence.stored import StoredEvidence
from mmkd.features.store import TeacherFeatures, open_features
from mmkd.progress import say
from mmkd.randomness import Purpose, generator
from mmkd.reliability.clusters import find_clusters
from mmkd.reliability.geometry import dispersion, mean_direction, temperature
from mmkd.reliability.nest import say_parts
from mmkd.reliability.part_files import PartsOfRows
from mmkd.reliability.printed import print_stacks, print_table
from mmkd.reliability.rank_test import RankTest, rank_test, shrunk, soft_weights
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stack_stage import find_nest, fit_stacks, stacked_cells
from mmkd.reliability.table import (
    GroupReliability,
    GroupStack,
    ReliabilityTable,
    TeacherGeometry,
    counted,
    groups_of,
    save_reliability,
)
from mmkd.reliability.trained_on import gap_of, trained_on, units_of


def measure_reliability(
    settings: ReliabilitySettings,
    corpus_folder: Path,
    features_folder: Path,
    names: Sequence[str],
    folder: Path,
    seed: int,
    evidence_folder: Path | None = None,
) -> dict[str, int]:
    """Body of the stage: write the reliability of the named teachers on the split `train`; returns counts.

    evidence_folder: its modalities are those of the rows, in place of the corpus's own.
    """
    corpus = Corpus(corpus_folder)
    features = open_features(features_folder, corpus, names)
    rows = corpus.pairs("train")
    if without := len(corpus.rows("train")) - len(rows):
        say(f"{without:,} pictures without a caption cannot show who is right about captions, and are left out")
    _check_features(features, rows)
    seen_NT = trained_on(settings.trained_on, corpus, [teacher.name for teacher in features])
    by_cluster = settings.by == "cluster"
    cluster_N = find_clusters(features, rows, len(corpus), settings.clusters, seed) if by_cluster else None
    modality_N = _modalities_of_evidence(evidence_folder, corpus) if evidence_folder else None
    of_row_N = groups_of(corpus, cluster_N, modality_N)
    nest, parts = None, None
    if settings.by == "nested":
        nest = find_nest(features, _by_group(rows, of_row_N), corpus, of_row_N, settings, seed, seen_NT)
        say_parts(nest, corpus, rows)
        of_row_N, parts = nest.group_N, PartsOfRows(nest.group_N, nest.cells)
    group_N = of_row_N[rows]
    tested = {name: _sample(found, settings.rows, seed) for name, found in _by_group(rows, of_row_N).items()}
    results = {
        (name, teacher.name): _test(teacher, found[~seen_NT[found, place]], settings, seed)
        for name, found in tested.items()
        for place, teacher in enumerate(features)
    }
    if settings.trained_on:
        _say_gaps(features, tested, seen_NT, corpus, settings, seed)
    teacher_names = [teacher.name for teacher in features]
    cells = _cells(list(tested), teacher_names, results, settings)
    stacks: list[GroupStack] = []
    if settings.method == "stacking":
        found = fit_stacks(features, tested, corpus, settings, seed, nest, seen_NT)
        cells, stacks = stacked_cells(cells, teacher_names, found)
    teachers = [_teacher(teacher, tested, cells, settings) for teacher in features]
    reliability = ReliabilityTable(teachers, cells, settings.by, cluster_N, "", modality_N, stacks, parts)
    save_reliability(reliability, folder)
    print_table(reliability)
    if stacks:
        print_stacks(reliability)
    if untrusted := reliability.untrusted(group_N):
        print(
            f"{reliability.why_untrusted} on {counted(untrusted)}: these pairs have no teacher and learn from "
            "their captions alone, unless [distill] says otherwise"
        )
    return {"teachers": len(features), "groups": len(tested), "rows": sum(map(len, tested.values()))}


def _by_group(rows: np.ndarray, of_row_N: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of each group; of_row_N: the group of every row of the corpus."""
    group_N = of_row_N[rows]
    return {str(name): rows[group_N == name] for name in np.unique(group_N)}


def _check_features(features: Sequence[TeacherFeatures], rows: np.ndarray) -> None:
    for teacher in features:
        if not teacher.valid()[rows].any():
            raise DataError(
                f"{teacher.folder}: teacher {teacher.name!r} has vectors of none of the {len(rows)} training pairs; "
                "see the column 'reason' there, or leave the teacher out"
            )


def _modalities_of_evidence(folder: Path, corpus: Corpus) -> np.ndarray:
    """The modality of each row by all evidence, an array of strings; "unknown" where there is none."""
    modality_N: np.ndarray = StoredEvidence(folder, corpus.folder).column("modality").astype(str)
    other = np.count_nonzero(modality_N != corpus.modalities)
    say(f"modalities of the evidence: {other:,} of {len(corpus):,} pictures have another than in the corpus")
    return modality_N


def _sample(rows: np.ndarray, limit: int, seed: int) -> np.ndarray:
    if len(rows) <= limit:
        return rows
    return np.sort(generator(seed, Purpose.RELIABILITY_ROWS).choice(rows, limit, replace=False))


def _test(teacher: TeacherFeatures, rows: np.ndarray, settings: ReliabilitySettings, seed: int) -> RankTest:
    image_ND, text_ND, valid_N = teacher.take(rows)
    return rank_test(image_ND[valid_N], text_ND[valid_N], settings.rivals, generator(seed, Purpose.RELIABILITY_TEST))


def _say_gaps(
    features: Sequence[TeacherFeatures],
    tested: Mapping[str, np.ndarray],
    seen_NT: np.ndarray,
    corpus: Corpus,
    settings: ReliabilitySettings,
    seed: int,
) -> None:
    """How much higher each teacher ranks captions that it was trained on."""
    unit_N = units_of(corpus)
    for name, found in tested.items():
        for place, teacher in enumerate(features):
            image_ND, text_ND, valid_N = teacher.take(found)
            rows, sides = found[valid_N], (image_ND[valid_N], text_ND[valid_N])
            rng = generator(seed, Purpose.TRAINED_ON, name, teacher.name)
            gap = gap_of(name, teacher.name, sides, seen_NT[rows, place], unit_N[rows], settings.rivals, rng)
            if gap is not None:
                print(gap)


def _cells(
    groups: Sequence[str],
    teachers: Sequence[str],
    results: dict[tuple[str, str], RankTest],
    settings: ReliabilitySettings,
) -> list[GroupReliability]:
    found_MK = [[results[name, teacher] for teacher in teachers] for name in groups]
    advantage_MK, variance_MK = (
        np.array([[getattr(cell, measured) for cell in row] for row in found_MK])
        for measured in ("advantage", "variance")
    )
    mean_MK, deviation_MK = shrunk(advantage_MK, variance_MK)
    weight_MK = soft_weights(mean_MK, mean_MK / deviation_MK, settings.power, settings.z_min, settings.correction)
    return [
        GroupReliability(name, teacher, cell.n, cell.percentile, cell.se, float(weight_MK[m, k]))
        for (m, name), (k, teacher) in itertools.product(enumerate(groups), enumerate(teachers))
        for cell in [results[name, teacher]]
    ]


def _teacher(
    teacher: TeacherFeatures,
    tested: dict[str, np.ndarray],
    cells: Sequence[GroupReliability],
    settings: ReliabilitySettings,
) -> TeacherGeometry:
    """Measured on the rows of the groups in which the teacher is trusted; of all groups where there is no such row."""
    weight = {cell.group: cell.weight for cell in cells if cell.teacher == teacher.name}
    has = teacher.valid()
    rows = np.concatenate([rows[has[rows]] for name, rows in tested.items() if weight[name] > 0] or [np.array([], int)])
    if not len(rows):
        rows = np.concatenate([rows[has[rows]] for rows in tested.values()])
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), settings.rows)).astype(int)]
    image_ND, text_ND, _ = teacher.take(rows)
    return TeacherGeometry(
        name=teacher.name,
        dim=teacher.dim,
        licence=teacher.facts.licence,
        scale=settings.scale or _scale(image_ND, text_ND, settings),
        image_dispersion=dispersion(image_ND),
        text_dispersion=dispersion(text_ND),
        image_mean=mean_direction(image_ND),
        text_mean=mean_direction(text_ND),
    )


def _scale(image_ND: np.ndarray, text_ND: np.ndarray, settings: ReliabilitySettings) -> float:
    spread = np.linspace(0, len(image_ND) - 1, min(settings.batch, len(image_ND))).astype(int)
    image_BD, text_BD = (torch.from_numpy(side[spread].astype(np.float32)) for side in (image_ND, text_ND))
    return temperature(image_BD, text_BD, settings.spread)
