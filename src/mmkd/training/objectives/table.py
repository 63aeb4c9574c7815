"""The objectives by name; an addition is one file and one line here, and its name in `DistillSettings.objective`."""

from collections.abc import Callable

import torch

from mmkd.training.objectives.contrastive import Contrastive
from mmkd.training.objectives.distilled import Distilled
from mmkd.training.objectives.mmkd import Mmkd
from mmkd.training.objectives.objective import Objective, TeacherShape
from mmkd.training.settings.distill import DistillSettings

# settings, the student's dimension, the teachers, first weights of what is trained for the objective alone
Builder = Callable[[DistillSettings, int, list[TeacherShape], torch.Generator], Objective]

OBJECTIVES: dict[str, Builder] = {
    "affinity": Distilled,
    "heads": Distilled,
    "interactive": Distilled,
    "relational": Distilled,
    "contrastive": lambda settings, _dim, _shapes, _generator: Contrastive(settings.pairwise),
    "mmkd": lambda settings, _dim, shapes, _generator: Mmkd(settings, shapes),
    "mmkd-fixed": lambda settings, _dim, shapes, _generator: Mmkd(settings, shapes),
}
