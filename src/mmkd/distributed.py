"""Several processes of one run, started by torchrun; the only place that knows how they speak with each other."""

import datetime
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
PATIENCE = datetime.timedelta(days=7)  # ranks wait for the slowest; torchrun ends them all when one fails


@dataclass(frozen=True)
class World:
    """This process's place among W: rank 0..W-1, and its place on its own machine, which is its GPU's number."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process decides, publishes and speaks."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Every W-th item, from its own rank on."""
        return list(items[self.rank :: self.size])

    def agree(self, value: T) -> T:
        """What rank 0 holds, for everyone; the values of the others are not looked at."""
        if self.size == 1:
            return value
        from torch import distributed

        held = [value]
        distributed.broadcast_object_list(held, src=0)
        return held[0]

    def sum(self, value: "Tensor") -> "Tensor":
        """The sum over all processes, on each; no gradient goes through it."""
        if self.size == 1:
            return value
        from torch import distributed

        total = value.detach().clone()
        distributed.all_reduce(total)
        return total

    def collect(self, value: T) -> list[T]:
        """What every process holds, in the order of their ranks, on each."""
        if self.size == 1:
            return [value]
        from torch import distributed

        held: list[T] = [value] * self.size
        distributed.all_gather_object(held, value)
        return held

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.size > 1:
            from torch import distributed

            distributed.barrier()


ALONE = World()


def processes() -> int:
    """How many processes torchrun has started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def join_world() -> Iterator[World]:
    """Meet the other processes that torchrun started; alone without it."""
    if processes() == 1:
        yield ALONE
        return
    import torch
    from torch import distributed

    backend = (
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    )  # objects go by gloo, tensors where they are
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield World(distributed.get_rank(), distributed.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        distributed.destroy_process_group()
