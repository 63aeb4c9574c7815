"""Stage 2: the teachers' cached features are distilled into the student."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmkd.corpus.schema import Corpus
from mmkd.distributed import ALONE, World
from mmkd.errors import DataError
from mmkd.features.store import open_features
from mmkd.randomness import Purpose, torch_generator
from mmkd.reliability.table import ReliabilityTable, load_reliability
from mmkd.settings import Machine
from mmkd.teachers.files import open_clip_folder
from mmkd.training.objectives.objective import TeacherShape
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.tables import OBJECTIVES
from mmkd.training.targets.frozen_targets import frozen_targets
from mmkd.training.targets.teacher_targets import TeacherTargets, teacher_targets
from mmkd.training.train import Place, train


@dataclass(frozen=True)
class Inputs:
    """The finished folders that stage 2 reads, and the names of the teachers among the features."""

    student: Path
    corpus: Path
    features: Path
    reliability: Path
    teachers: list[str]


def distill(
    settings: DistillSettings,
    inputs: Inputs,
    folder: Path,
    machine: Machine,
    seed: int,
    home: Path | None = None,
    world: World = ALONE,
) -> Mapping[str, int]:
    """Body of the stage: go on from the stage-1 student; leave the new one in `folder` as an open_clip folder."""
    corpus = Corpus(inputs.corpus)
    model = open_clip_folder.load(inputs.student)
    place = Place(folder, machine, seed, home, world)
    reliability = load_reliability(inputs.reliability)
    teachers, shapes = _teachers(settings, inputs, corpus, reliability, model.dim, place)
    generator = torch_generator(seed, Purpose.OBJECTIVE_WEIGHTS)
    objective = OBJECTIVES[settings.objective].load()(settings, model.dim, shapes, generator)
    if teachers is not None and teachers.captions_alone:
        objective.learn_from_captions()
    shuffle = not settings.is_reference or settings.reference.shuffle
    groups = reliability.groups(corpus)
    return train(model, objective, settings, corpus, place, teachers, groups, shuffle)


def _teachers(
    settings: DistillSettings, inputs: Inputs, corpus: Corpus, reliability: ReliabilityTable, dim: int, place: Place
) -> tuple[TeacherTargets | None, list[TeacherShape]]:
    """The teachers' side of the training pairs and what the objective knows of each; none without a teacher."""
    if settings.objective == "contrastive":
        return None, []
    features = open_features(inputs.features, corpus, inputs.teachers)
    _check_teachers(inputs, reliability)
    rows = corpus.rows("train")
    teachers = teacher_targets(settings, corpus, rows, features, reliability, place.seed)
    targets = frozen_targets(settings, dim, rows, teachers, place.folder, place.seed, place.world)
    scales = [teacher.scale for teacher in reliability.teachers]
    return teachers, [TeacherShape(scale, target) for scale, target in zip(scales, targets, strict=True)]


def _check_teachers(inputs: Inputs, reliability: ReliabilityTable) -> None:
    measured = [teacher.name for teacher in reliability.teachers]
    if inputs.teachers != measured:
        raise DataError(
            f"the teachers are {', '.join(inputs.teachers)}, but {inputs.reliability} was made from "
            f"{', '.join(measured)}; run 'mmkd reliability' again"
        )
