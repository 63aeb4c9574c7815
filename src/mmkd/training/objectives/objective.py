"""The base class of objectives, and what they must know of a teacher."""

from dataclasses import dataclass

from torch import Tensor, nn

from mmkd.errors import ConfigError
from mmkd.training.data.view import TeacherBatch, View
from mmkd.training.experimental.targets import Target


@dataclass(frozen=True)
class TeacherShape:
    """What an objective knows of a teacher before the first step: the scale of its softmax, the map of its vectors."""

    scale: float
    target: Target


class Objective(nn.Module):
    """Named losses of a view; `weights` says how they add up, so logs stay comparable between recipes.

    May hold parameters of its own, which are trained and thrown away.
    """

    weights: dict[str, float]

    def forward(self, view: View) -> dict[str, Tensor]:
        """Each loss as `View.mean` gives it: averaged over processes it is that of the whole batch."""
        raise TypeError(f"{type(self).__name__} is not an objective by itself")


def teachers_of(view: View) -> tuple[TeacherBatch, TeacherBatch]:
    """The teachers' own rows and keys. Raises ConfigError where the step has none."""
    if view.teachers is None or view.teacher_keys is None:
        raise ConfigError("this objective needs the teachers' features; only 'contrastive' goes without")
    return view.teachers, view.teacher_keys
