"""Stage 1: contrastive training on the captions."""

from collections.abc import Mapping
from pathlib import Path

from mmkd.corpus.schema import Corpus
from mmkd.distributed import ALONE, World
from mmkd.settings import Machine
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.training.objectives.contrastive import Contrastive
from mmkd.training.settings.train import PretrainSettings
from mmkd.training.train import Place, train


def pretrain(
    settings: PretrainSettings,
    student: StudentSettings,
    corpus_folder: Path,
    folder: Path,
    machine: Machine,
    seed: int,
    home: Path | None = None,
    world: World = ALONE,
) -> Mapping[str, int]:
    """Body of the stage: train a student from its settings and leave it in `folder` as an open_clip folder."""
    model = build_student(student, seed)
    place = Place(folder, machine, seed, home, world)
    return train(model, Contrastive(settings.pairwise), settings, Corpus(corpus_folder), place)
