"""The calibration folder: what was measured of every teacher, and the weights that follow from it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from mmkd.errors import DataError
from mmkd.stage import atomic_file, digest_of, write_json

TABLE = "calibration.json"
MEANS = "means.safetensors"


@dataclass(frozen=True)
class TeacherCalibration:
    """scale: the logit scale of the teacher's softmax. dispersions in radian^2. means: of unit vectors, (D,)."""

    name: str
    dim: int
    licence: str
    scale: float
    image_dispersion: float
    text_dispersion: float
    image_mean: np.ndarray
    text_mean: np.ndarray


@dataclass(frozen=True)
class ModalityReliability:
    """One cell of the table: a teacher on a modality. weight: 0..1, the best teacher of the modality has 1."""

    modality: str
    teacher: str
    n: int
    percentile: float
    se: float
    weight: float


@dataclass(frozen=True)
class Calibration:
    """Teachers in the order of their names; `cells` has every (modality, teacher)."""

    teachers: list[TeacherCalibration]
    cells: list[ModalityReliability]
    digest: str = ""

    @property
    def modalities(self) -> list[str]:
        return list(dict.fromkeys(cell.modality for cell in self.cells))

    def weights(self, modality_N: np.ndarray) -> np.ndarray:
        """The weight of each teacher (K) for rows of the given modalities (N,) -> (N, K) float32.

        Modalities that were not calibrated get 0 from every teacher.
        """
        known = {name: m for m, name in enumerate(self.modalities)}
        table_MK = np.zeros((len(known) + 1, len(self.teachers)), dtype=np.float32)
        column = {teacher.name: k for k, teacher in enumerate(self.teachers)}
        for cell in self.cells:
            table_MK[known[cell.modality], column[cell.teacher]] = cell.weight
        return np.asarray(table_MK[[known.get(name, len(known)) for name in modality_N.tolist()]])


def save_calibration(calibration: Calibration, folder: Path) -> None:
    """Write the table as JSON and the means as safetensors."""
    means = {}
    rows = []
    for teacher in calibration.teachers:
        facts = asdict(teacher)
        means[f"{teacher.name}.image"] = facts.pop("image_mean")
        means[f"{teacher.name}.text"] = facts.pop("text_mean")
        rows.append(facts)
    with atomic_file(folder / MEANS) as stream:
        stream.write(save(means))
    write_json(folder / TABLE, {"teachers": rows, "reliability": [asdict(cell) for cell in calibration.cells]})


def load_calibration(folder: Path) -> Calibration:
    """Read a calibration folder. Raises DataError when it is not one."""
    try:
        digest = digest_of(folder)
        table = json.loads((folder / TABLE).read_text())
        means = load_file(folder / MEANS)
        teachers = [
            TeacherCalibration(
                **facts, image_mean=means[f"{facts['name']}.image"], text_mean=means[f"{facts['name']}.text"]
            )
            for facts in table["teachers"]
        ]
        return Calibration(teachers, [ModalityReliability(**cell) for cell in table["reliability"]], digest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: not a calibration folder ({error!r}); run 'mmkd calibrate' again") from error
