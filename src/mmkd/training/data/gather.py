"""The rows of all processes, on each of them.

Letters: B rows of this process, K = B x processes.
"""

from typing import Any

import torch
from torch import Tensor, distributed

from mmkd.distributed import World
from mmkd.training.data.view import Embedded, TeacherBatch


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
    return TeacherBatch(image, text, gather_rows(own.weight_BT, world), available)
