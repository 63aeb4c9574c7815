"""A classifier on a model's vectors, in the model's folder: `classifier.safetensors` and `classifier.json`.

N pictures, C classes, D dimensions.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveFloat
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mmkd.errors import ConfigError, DataError
from mmkd.folders.atomic import atomic_file, write_json
from mmkd.folders.digests import file_digest
from mmkd.inference.onnx import onnx_digest
from mmkd.labels.calibrate import Calibration
from mmkd.labels.classes import Classes
from mmkd.labels.classify import probabilities
from mmkd.labels.head import Head
from mmkd.settings import Settings
from mmkd.statistics.metrics import Array
from mmkd.teachers.files.identity import model_digest
from mmkd.validation import parse

WEIGHTS, FACTS = "classifier.safetensors", "classifier.json"
ANEW = "make it anew with mmkd adapt"


class Facts(Settings):
    """Everything about a classifier but its numbers.

    prompts: of each class. method, setting: how it was fitted; "zero-shot" where adaptation was abstained from.
    temperature: what logits are divided by, fitted on pictures that each fit had not seen; temperature_note: "" unless
    no temperature fits best. model, model_digest: whose vectors it is for; of a folder SHA-256 of its weights, config
    (with the preprocessing) and tokenizer. onnx_digest: the same of its files for ONNX Runtime, "" without any. gain:
    of balanced accuracy over zero-shot, with its interval. data: what it rests on.
    """

    format: int = 1
    classes: list[str] = Field(min_length=2)
    prompts: list[list[str]]
    method: str
    setting: str
    source: str
    temperature: PositiveFloat
    temperature_note: str = ""
    model: str
    model_digest: str
    onnx_digest: str = ""
    dim: int
    gain: dict[str, Any]
    data: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Classifier:
    """weight_CD: float32, logits are vectors times it."""

    facts: Facts
    weight_CD: Array

    @property
    def classes(self) -> list[str]:
        return self.facts.classes

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether the folder of a model has a classifier."""
        return (folder / FACTS).is_file()

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """The classifier in a folder that `mmkd adapt` wrote. Raises DataError that says what is missing or wrong."""
        try:
            facts = json.loads((folder / FACTS).read_text())
            weight_CD = load((folder / WEIGHTS).read_bytes())["weight"]
        except FileNotFoundError as error:
            name = Path(error.filename).name
            raise DataError(f"{folder}: no {name} found, so no classifier; make one with mmkd adapt") from error
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise DataError(f"{folder}: the classifier is not readable ({error}); {ANEW}") from error
        found = parse(Facts, facts, str(folder / FACTS))
        expected = (len(found.classes), found.dim)
        if weight_CD.shape != expected or len(found.prompts) != len(found.classes):
            raise DataError(f"{folder / WEIGHTS}: weights {weight_CD.shape}, expected {expected}; {ANEW}")
        if not np.isfinite(weight_CD).all():
            raise DataError(f"{folder / WEIGHTS}: weights that are not finite; {ANEW}")
        return cls(found, weight_CD)

    @classmethod
    def of_model(cls, folder: Path) -> "Classifier | None":
        """The classifier beside the model in a folder, None where there is none. Raises DataError as `load` does, and
        where the model beside it is not the one that it was made with, in weights, preprocessing or tokenizer."""
        if not cls.is_in(folder):
            return None
        found = cls.load(folder)
        if model_digest(folder) != found.facts.model_digest or onnx_digest(folder) != found.facts.onnx_digest:
            raise DataError(
                f"{folder}: the classifier was made with another model than the one beside it: its weights, its "
                f"preprocessing or its tokenizer have changed; {ANEW}, or copy the folder again"
            )
        return found

    def basis(self) -> str:
        """On which data it rests, in words."""
        labels: Mapping[str, int] = self.facts.data.get("labels", {})
        pictures = f"{sum(labels.values()):,} labelled pictures of {len(labels)} classes"
        done = "fitted and calibrated" if self.is_calibrated else "fitted"
        note = f"; {self.facts.temperature_note}" if self.facts.temperature_note else ""
        return f"{self.facts.method}, {done} on {pictures} (mmkd adapt){note}"

    def head(self) -> Head:
        """Its classes, logits and temperature, as `mmkd label` takes them."""
        classes = Classes(tuple(self.classes), tuple(map(tuple, self.facts.prompts)))
        return Head(classes, self.logits, Calibration(self.facts.temperature, self.basis(), self.is_calibrated))

    @property
    def is_calibrated(self) -> bool:
        return not self.facts.temperature_note

    def check_not_learnt(self, table: Path) -> None:
        """Raises ConfigError for the table that it was fitted to."""
        if file_digest(table) == self.facts.data.get("table"):
            raise ConfigError(
                f"{table}: the classifier was fitted to this table, so it says nothing of its errors on others; give "
                "other labelled pictures, or leave the calibration out"
            )

    def save(self, folder: Path) -> None:
        """Both files, the JSON last."""
        with atomic_file(folder / WEIGHTS) as stream:
            stream.write(save({"weight": np.ascontiguousarray(self.weight_CD, np.float32)}))
        write_json(folder / FACTS, self.facts.model_dump(mode="json"))

    def logits(self, vector_ND: Array) -> Array:
        """(N, C). Raises DataError for vectors of another model's dimension, or that are not finite."""
        if vector_ND.ndim != 2 or vector_ND.shape[1] != self.facts.dim:
            raise DataError(
                f"vectors {vector_ND.shape}, expected (N, {self.facts.dim}): this classifier is for vectors of "
                f"{self.facts.model}"
            )
        if not np.isfinite(vector_ND).all():
            raise DataError("vectors that are not finite; embed the pictures again")
        return np.asarray(vector_ND @ self.weight_CD.T)

    def probabilities(self, vector_ND: Array) -> Array:
        """Of unit vectors of the model; float64 (N, C), rows sum to one."""
        return probabilities(self.logits(vector_ND), self.facts.temperature)
