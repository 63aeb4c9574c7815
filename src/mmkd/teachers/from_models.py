"""Features from running the teachers: all of them resident, each image decoded once for all."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader

from mmkd.corpus.schema import Corpus
from mmkd.device import prepare
from mmkd.features.store import SIDES, feature_table
from mmkd.settings import Machine
from mmkd.teachers.decode import DecodedBatches, Views
from mmkd.teachers.load import load_teacher
from mmkd.teachers.settings import ExtractSettings, TeacherSpec
from mmkd.teachers.spec import Teacher

PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}


class ModelFeatures:
    """Loads the teachers at once. Raises ModelError when one does not load."""

    def __init__(
        self, specs: Sequence[TeacherSpec], corpus: Corpus, settings: ExtractSettings, machine: Machine
    ) -> None:
        self.device = prepare(machine)
        self.teachers: list[Teacher] = [load_teacher(spec, self.device) for spec in specs]
        self.dims = [teacher.dim for teacher in self.teachers]
        self.corpus, self.settings, self.workers = corpus, settings, machine.workers

    def tables(self, todo: Sequence[int], rows: np.ndarray) -> list[pa.Table]:
        """See `mmkd.teachers.extract.Producer`; rows that are unreadable or not finite are null."""
        teachers = [self.teachers[k] for k in todo]
        views = Views([teacher.transform for teacher in teachers])
        batches = np.array_split(rows, -(-len(rows) // self.settings.batch_size))
        parts: list[dict[str, list[torch.Tensor]]] = [{side: [] for side in SIDES} for _ in teachers]
        for batch in DataLoader(DecodedBatches(self.corpus, batches, views), batch_size=None, num_workers=self.workers):
            for k, teacher in enumerate(teachers):
                image_BD = self._encode(teacher, batch.views[views.of[k]])
                parts[k]["image"].append(torch.where(batch.decoded_B[:, None], image_BD, torch.nan))
                parts[k]["text"].append(teacher.encode_texts(batch.captions))
        ids = self.corpus.take(rows).column("id")
        return [feature_table(ids, _joined(part)) for part in parts]

    def _encode(self, teacher: Teacher, image_BCHW: torch.Tensor) -> torch.Tensor:
        dtype = PRECISIONS.get(self.settings.precision)
        with torch.autocast("cuda", dtype=dtype, enabled=self.device.type == "cuda" and dtype is not None):
            return teacher.encode_images(image_BCHW)


def _joined(part: Mapping[str, list[torch.Tensor]]) -> dict[str, np.ndarray]:
    return {side: torch.cat(tensors).numpy() for side, tensors in part.items()}
