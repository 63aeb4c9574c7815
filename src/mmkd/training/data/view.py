"""What an objective gets of a step: this process's pairs, and those of all processes as keys.

Letters: B pairs of this process, K pairs of all processes (the whole contrastive batch; K = B with one
process), D student dimension, D_t or E dimension of a teacher, T teachers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from mmkd.distributed import ALONE, World

OfTerm = Callable[[str, Tensor], tuple[Tensor, Tensor]]
"""(name of a term, its values (B, T)) -> the values and the weights (B, T) that count."""


@dataclass(frozen=True)
class Embedded:
    """The student's embeddings of some pairs: unit vectors and exp(logit_scale).

    patch_BPE: unit vectors of the pictures' patches, None where no term asks, and of keys.
    """

    image_BD: Tensor
    text_BD: Tensor
    scale: Tensor
    patch_BPE: Tensor | None = None


@dataclass(frozen=True)
class TeacherBatch:
    """The teachers' embeddings of them. image, text: one float32 (B, D_t) a teacher, unit rows, zeros where missing.

    weight_BT: of each teacher on each pair, 0 where missing. available_BT: which ones the reference recipe may draw.
    slope_BT: what multiplies each teacher's cosines in the stack's logits, 0 where missing; group_B: equal numbers are
    equal groups of the fit. given_B2: of each pair's caption as evidence, the share of wrong captions of its group, and
    the share of right ones over how common its meaning is there. relation_BTPP: cosines of a picture's patches with one
    another, zeros where missing; of own pairs only. All four are None where no term asks for them.
    """

    image: list[Tensor]
    text: list[Tensor]
    weight_BT: Tensor
    available_BT: Tensor
    slope_BT: Tensor | None = None
    group_B: Tensor | None = None
    given_B2: Tensor | None = None
    relation_BTPP: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "TeacherBatch":
        image, text = ([change(rows) for rows in side] for side in (self.image, self.text))
        asked = (self.slope_BT, self.group_B, self.given_B2, self.relation_BTPP)
        found = (None if one is None else change(one) for one in asked)
        return TeacherBatch(image, text, change(self.weight_BT), change(self.available_BT), *found)


@dataclass(frozen=True)
class View:
    """A step's batch. `own` and `teachers` are this process's pairs, `keys` and `teacher_keys` those of all processes.

    keys carries gradients back to the process that embedded each row. Own pair b is key offset + b.
    average, average_keys: the same pairs as the average of the student's weights embeds them, without a gradient; None
    where it teaches nothing. positive_BK: which keys are positives of an own pair (at least its own). caption_weight_B:
    0..1, scales each own pair's contrastive term. generator: the same on every process. whole: false where the vectors
    of the student are only their first dimensions; what does not depend on them is left out there.
    """

    own: Embedded
    keys: Embedded
    positive_BK: Tensor
    caption_weight_B: Tensor
    teachers: TeacherBatch | None
    teacher_keys: TeacherBatch | None
    generator: torch.Generator
    offset: int = 0
    world: World = ALONE
    average: Embedded | None = None
    average_keys: Embedded | None = None
    whole: bool = True

    @property
    def own_keys(self) -> slice:
        """Where this process's pairs stand among the keys."""
        return slice(self.offset, self.offset + len(self.own.image_BD))

    def mean(self, total: Tensor, norm: Tensor | float) -> Tensor:
        """Sum of `total` over all processes, divided by the sum of `norm`; both are this process's part.

        The value is this process's share, times their number: averaged over processes, as DDP averages gradients, it
        is the loss of the whole batch. 0, with a gradient of 0, where the norm of all is 0.
        """
        if isinstance(norm, float):  # filled in on the device: a copy would make the host wait for it
            norm = total.new_full((), norm)
        norm = self.world.sum(norm.detach().to(total.dtype))
        return total * self.world.size / norm.clamp(min=1e-6)

    def row_mean(self, value_B: Tensor) -> Tensor:
        """Mean of a value of each pair over the pairs of all processes."""
        return self.mean(value_B.sum(), float(len(value_B)))


def uniform(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Uniform numbers 0..1 on the device, drawn on the CPU: every kind of machine draws the same."""
    drawn = torch.rand(tuple(shape), generator=generator)
    return (drawn.pin_memory() if device.type == "cuda" else drawn).to(device, non_blocking=True)


def single_view(own: Embedded, positive_BB: Tensor, teachers: TeacherBatch | None, generator: torch.Generator) -> View:
    """The view of a single process, every caption with the weight 1."""
    caption_weight_B = torch.ones(len(positive_BB), device=positive_BB.device)
    return View(own, own, positive_BB, caption_weight_B, teachers, teachers, generator)


def gather_rows(rows: Tensor, world: World) -> Tensor:
    """(B, ...) of every process in the order of their ranks, (K, ...); no gradient goes through it."""
    if world.size == 1:
        return rows
    rows = rows.detach().contiguous()
    parts = [torch.empty_like(rows) for _ in range(world.size)]
    distributed.all_gather(parts, rows)
    return torch.cat(parts)


class _GatherWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, world: World) -> Tensor:
        ctx.own = slice(world.rank * len(rows), (world.rank + 1) * len(rows))
        return gather_rows(rows, world)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)  # the graph may use its own once more
        distributed.all_reduce(total)  # what every process's loss wants of this process's rows
        return total[ctx.own], None


def gather_embedded(own: Embedded, world: World) -> Embedded:
    """The student's view of all pairs; gradients go back to the process that embedded each row."""
    if world.size == 1:
        return own
    image, text = (_GatherWithGradient.apply(side, world) for side in (own.image_BD, own.text_BD))
    return Embedded(image, text, own.scale)


def gather_teachers(own: TeacherBatch | None, world: World) -> TeacherBatch | None:
    """The teachers' view of all pairs. Features travel as float16, which is what they are stored as."""
    if own is None or world.size == 1:
        return own
    image, text = ([gather_rows(rows.half(), world).float() for rows in side] for side in (own.image, own.text))
    available = gather_rows(own.available_BT.to(torch.uint8), world).bool()
    asked = (own.slope_BT, own.group_B, own.given_B2)
    of_stack = (None if one is None else gather_rows(one, world) for one in asked)
    return TeacherBatch(image, text, gather_rows(own.weight_BT, world), available, *of_stack)


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
    target: Any  # a Target
    head_loss: str
    head: Any = None  # TeacherHeads
    query_scale: Tensor | None = None


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
