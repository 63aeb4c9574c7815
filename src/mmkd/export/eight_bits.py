"""What 8-bit weights cost: the run's test sets for zero-shot classification, with the exported ONNX files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mmkd.errors import DataError
from mmkd.evaluation.data_sets.choose import chosen_cards
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages, open_for_tasks
from mmkd.evaluation.data_sets.source import read_source
from mmkd.evaluation.embed import embed
from mmkd.evaluation.format.results import ALL
from mmkd.evaluation.models.encoders import LoadableModel
from mmkd.evaluation.summary.scores import Resampling
from mmkd.evaluation.summary.summary import results_from_predictions
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.evaluation.tasks.table import TASKS
from mmkd.evaluation.units import predict, units_of
from mmkd.inference.onnx import OnnxModel
from mmkd.settings import Machine

NAME, TASK = "student, int8", "zero_shot"


class _Encoder:
    """An `Encoder` of the evaluation."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model

    def prepare(self, image: Image.Image) -> Tensor:
        return torch.from_numpy(self._model.prepare(image).copy())

    def encode_images(self, prepared: Tensor) -> Tensor:
        return torch.from_numpy(self._model.encode_prepared(prepared.numpy()))

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        return torch.from_numpy(self._model.encode_texts(texts))


def results(settings: EvaluateSettings, machine: Machine, seed: int, folder: Path) -> list[Mapping[str, Any]]:
    """Rows of the primary metric of each data set and their mean; [] where none of them is for zero-shot."""
    model = OnnxModel(folder, machine.threads or 0, "int8")
    loadable = LoadableModel(NAME, model.digest, lambda device: _Encoder(model))
    images = DecodedImages(machine.decoded_cache_mb)
    data_sets = _readable(settings)
    if not data_sets:
        return []
    with TemporaryDirectory() as name:
        place = Path(name)
        embed(loadable, data_sets, place, torch.device("cpu"), images, settings.batch_size, machine.loaders)
        for data_set in data_sets:
            for unit in units_of(data_set, {NAME: [loadable]}, settings, seed):
                if unit.task_name == TASK and unit.members:
                    predict(unit, place)
        resampling = Resampling(settings.bootstrap, settings.confidence, seed, least_groups=settings.least_groups)
        found = results_from_predictions(place, [], resampling, [NAME])
    primary = TASKS[TASK].primary
    return [vars(row) for row in found.results if row.metric == primary and row.subset == ALL and row.model == NAME]


def _readable(settings: EvaluateSettings) -> list[DataSet]:
    """Those for zero-shot classification; the evaluation has said which cannot be read."""
    found = []
    for card in chosen_cards(settings):
        try:
            data_set, _ = open_for_tasks(read_source(card))
        except DataError:
            continue
        found += [data_set] if data_set is not None and TASK in data_set.card.tasks and data_set.images else []
    return found
