"""Averages of weights: over the steps (EMA), and with the weights the stage began with (WiSE-FT)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class MovingAverage:
    """The exponential moving average of a network's parameters; buffers are the network's own.

    The decay grows to its value as (1 + step) / (10 + step), so that the first weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.parameters = {name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step (0-based)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mean: Any = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        current = dict(network.named_parameters())
        mean(list(self.parameters.values()), [current[name].detach() for name in self.parameters], 0)

    @contextmanager
    def in_place(self, network: nn.Module) -> Iterator[None]:
        """The network has the averaged weights while the context lasts."""
        own = {name: p.detach().clone() for name, p in network.named_parameters() if name in self.parameters}
        self.copy_to(network)
        try:
            yield
        finally:
            _copy(own, network)

    def copy_to(self, network: nn.Module) -> None:
        """Give the network the averaged weights."""
        _copy(self.parameters, network)


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
