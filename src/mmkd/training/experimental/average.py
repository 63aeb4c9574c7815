"""Averages of weights: over the steps (EMA), and with the weights the stage began with (WiSE-FT).

Found by docs/results/ablations.md: EMA changes nothing; half-way weights lose most of what was learnt (69.9 where
98.1). The running average also teaches the student where `self_teacher` asks for it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


class MovingAverage:
    """The exponential moving average of a network's parameters; buffers are the network's own.

    The decay grows to its value as (1 + step) / (10 + step), so that the first weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.parameters = {name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int, bad: Tensor) -> None:
        """Take in the weights after a step (0-based); bad: 1 where the step was skipped, which leaves all as it is."""
        weight = (1 - min(self.decay, (1 + step) / (10 + step))) * (1 - bad)  # on the device: the host does not wait
        current = dict(network.named_parameters())
        for name, value in self.parameters.items():
            _local(value).lerp_(_local(current[name].detach()), weight)

    @contextmanager
    def in_place(self, network: nn.Module) -> Iterator[None]:
        own = {name: p.detach().clone() for name, p in network.named_parameters() if name in self.parameters}
        self.copy_to(network)
        try:
            yield
        finally:
            _copy(own, network)

    def copy_to(self, network: nn.Module) -> None:
        _copy(self.parameters, network)


def _local(value: Tensor) -> Tensor:
    """This process's shard of a sharded tensor, in the same memory."""
    return value.to_local() if isinstance(value, DTensor) else value


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        if name in values:
            parameter.copy_(values[name])


def mix(start: Mapping[str, Tensor], trained: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """share x trained + (1 - share) x start for floating-point tensors, the trained ones of others (counters).

    WiSE-FT, arXiv 2109.01903, section 2.
    """
    return {
        name: torch.lerp(start[name].to(value.device, torch.float32), value.float(), share).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in trained.items()
    }
