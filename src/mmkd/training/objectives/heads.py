"""Light heads from the student's vectors to each teacher's; discarded after training.

Letters: D student dimension, E dimension of a teacher's targets.
"""

import math

import torch
from torch import nn

WIDEN = 2  # hidden units of a head, in multiples of the student's dimension


class TeacherHeads(nn.Module):
    """One head a side for one teacher, (B, D) to (B, E): a layer norm and two linear layers."""

    def __init__(self, dim: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.image, self.text = (
            nn.Sequential(
                nn.LayerNorm(dim), linear(dim, WIDEN * dim, generator), nn.GELU(), linear(WIDEN * dim, width, generator)
            )
            for _ in range(2)
        )


def linear(inward: int, outward: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with torch's own distribution of first weights, drawn from a generator that is passed in."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inward, outward)  # type: ignore[no-untyped-call]
    bound = 1 / math.sqrt(inward)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
