"""The stage `calibrate`: measure every teacher on the corpus, and print whom to believe about what."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mmkd.calibrate.calibration import Calibration, ModalityReliability, TeacherCalibration, save_calibration
from mmkd.calibrate.geometry import dispersion, mean_direction, temperature
from mmkd.calibrate.reliability import Reliability, reliability, soft_weights
from mmkd.calibrate.settings import CalibrateSettings
from mmkd.corpus.schema import Corpus
from mmkd.features.store import TeacherFeatures, open_features
from mmkd.progress import table_width


def calibrate(
    settings: CalibrateSettings,
    corpus_folder: Path,
    features_folder: Path,
    names: Sequence[str],
    folder: Path,
    seed: int,
) -> dict[str, int]:
    """Body of the stage: write the calibration of the named teachers on the split `train`; returns counts."""
    corpus = Corpus(corpus_folder)
    features = open_features(features_folder, corpus, names)
    rows = corpus.rows("train")
    modality_N = corpus.modalities[rows]
    by_modality = {str(name): rows[modality_N == name] for name in np.unique(modality_N)}
    tested = {name: _sample(found, settings.rows, seed) for name, found in by_modality.items()}
    results = {
        (name, teacher.name): _test(teacher, found, settings, seed)
        for name, found in tested.items()
        for teacher in features
    }
    cells = _cells(list(tested), [teacher.name for teacher in features], results, settings)
    teachers = [_teacher(teacher, tested, cells, settings) for teacher in features]
    calibration = Calibration(teachers, cells)
    save_calibration(calibration, folder)
    print_table(calibration)
    return {"teachers": len(features), "modalities": len(tested), "rows": sum(map(len, tested.values()))}


def _sample(rows: np.ndarray, limit: int, seed: int) -> np.ndarray:
    if len(rows) <= limit:
        return rows
    return np.sort(np.random.default_rng([seed, 1]).choice(rows, limit, replace=False))


def _test(teacher: TeacherFeatures, rows: np.ndarray, settings: CalibrateSettings, seed: int) -> Reliability:
    image_ND, text_ND, valid_N = teacher.take(rows)
    return reliability(image_ND[valid_N], text_ND[valid_N], settings.rivals, np.random.default_rng([seed, 2]))


def _cells(
    modalities: Sequence[str],
    teachers: Sequence[str],
    results: dict[tuple[str, str], Reliability],
    settings: CalibrateSettings,
) -> list[ModalityReliability]:
    found_MK = [[results[name, teacher] for teacher in teachers] for name in modalities]
    advantage_MK = np.array([[cell.advantage for cell in row] for row in found_MK])
    z_MK = np.array([[cell.z for cell in row] for row in found_MK])
    weight_MK = soft_weights(advantage_MK, z_MK, settings.power, settings.z_min)
    return [
        ModalityReliability(name, teacher, cell.n, cell.percentile, cell.se, float(weight_MK[m, k]))
        for (m, name), (k, teacher) in itertools.product(enumerate(modalities), enumerate(teachers))
        for cell in [results[name, teacher]]
    ]


def _teacher(
    teacher: TeacherFeatures,
    tested: dict[str, np.ndarray],
    cells: Sequence[ModalityReliability],
    settings: CalibrateSettings,
) -> TeacherCalibration:
    weight = {cell.modality: cell.weight for cell in cells if cell.teacher == teacher.name}
    trusted = [rows for name, rows in tested.items() if weight[name] > 0] or list(tested.values())
    rows = np.concatenate(trusted)
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), settings.rows)).astype(int)]
    image_ND, text_ND, valid_N = teacher.take(rows)
    image_ND, text_ND = image_ND[valid_N], text_ND[valid_N]
    return TeacherCalibration(
        name=teacher.name,
        dim=teacher.dim,
        licence=teacher.facts.licence,
        scale=settings.scale or _scale(image_ND, text_ND, settings),
        image_dispersion=dispersion(image_ND),
        text_dispersion=dispersion(text_ND),
        image_mean=mean_direction(image_ND),
        text_mean=mean_direction(text_ND),
    )


def _scale(image_ND: np.ndarray, text_ND: np.ndarray, settings: CalibrateSettings) -> float:
    spread = np.linspace(0, len(image_ND) - 1, min(settings.batch, len(image_ND))).astype(int)
    image_BD, text_BD = (torch.from_numpy(side[spread].astype(np.float32)) for side in (image_ND, text_ND))
    return temperature(image_BD, text_BD, settings.spread)


def print_table(calibration: Calibration) -> None:
    """Own caption's percentile within the modality (.50 = chance) and, where it is not 0, the weight in brackets."""
    from rich.console import Console
    from rich.table import Table

    names = [teacher.name for teacher in calibration.teachers]
    table = Table("modality", "pairs", *names, title="rank test within the modality: percentile (weight)")
    cell = {(c.modality, c.teacher): c for c in calibration.cells}
    for modality in calibration.modalities:
        row = [cell[modality, name] for name in names]
        shown = [f"{c.percentile:.2f} ({c.weight:.2f})" if c.weight else f"{c.percentile:.2f}" for c in row]
        table.add_row(modality, str(max(c.n for c in row)), *shown)
    table.add_section()
    table.add_row("logit scale", "", *[f"{teacher.scale:.1f}" for teacher in calibration.teachers])
    table.add_row(
        "dispersion", "", *[f"{t.image_dispersion:.2f} / {t.text_dispersion:.2f}" for t in calibration.teachers]
    )
    Console(width=table_width(2 + len(names))).print(table)
