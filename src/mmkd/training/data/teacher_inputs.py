"""What a loss term and a weighting get of one teacher in one step.

Letters: B own pairs, K keys, E dimension of the teacher.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmkd.training.data.view import View


@dataclass(frozen=True)
class TeacherInputs:
    """Vectors of own pairs and of keys, which keys the teacher has a weight on, and what is trained or fitted for it.

    scale: of its softmax. target: a map of its vectors, `image` and `text`. head, query_scale: trained for it where a
    term needs them; head_loss: see DistillSettings.
    """

    image_BE: Tensor
    text_BE: Tensor
    key_image_KE: Tensor
    key_text_KE: Tensor
    key_K: Tensor
    scale: float
    target: Any  # a TargetMap
    head_loss: str
    head: Any = None  # TeacherHeads
    query_scale: Tensor | None = None


OfTerm = Callable[[str, Tensor], tuple[Tensor, Tensor]]
"""(name of a term, its values (B, T)) -> the values and the weights (B, T) that count."""


class StepWeighting(nn.Module):
    """A weighting that depends on the step; this one leaves values and weights as they are.

    Made from the settings, the names of the terms and the number of teachers; parameters are trained.
    """

    def __init__(self, settings: Any, terms: Sequence[str], teachers: int) -> None:
        super().__init__()
        self.settings = settings  # DistillSettings

    def of_step(self, view: View, teachers: Sequence[TeacherInputs], weight_BT: Tensor) -> OfTerm:
        """What each term's values and weights become in a step."""
        return lambda _name, value_BT: (value_BT, weight_BT)
