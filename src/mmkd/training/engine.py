"""The student's towers as the machine runs them: one process, copies of all (DDP), or shared weights (FSDP2)."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from mmkd.distributed import World
from mmkd.errors import ConfigError
from mmkd.settings import Machine
from mmkd.teachers.encoders.patches import TowerPatches
from mmkd.training.towers import COMPILED_STEP, STEP, StudentTowers, compile_towers, recompute_activations


@dataclass
class Engine:
    """Where and how a step runs. towers: as `StudentTowers` has it."""

    towers: nn.Module
    machine: Machine
    device: torch.device
    world: World
    bf16: bool

    @property
    def sharded(self) -> bool:
        return self.world.size > 1 and self.machine.sharding == "fsdp"

    @property
    def plain(self) -> nn.Module:
        """The towers without the copies' bookkeeping, for embedding without gradients."""
        return self.towers.module if isinstance(self.towers, DistributedDataParallel) else self.towers

    def autocast(self) -> Any:
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.bf16 else nullcontext()

    @contextmanager
    def without_sync(self) -> Iterator[None]:
        """Backward passes in this context leave their gradients unshared: only the last of several shares them."""
        if isinstance(self.towers, DistributedDataParallel):
            with self.towers.no_sync():
                yield
            return
        if not self.sharded:
            yield
            return
        root: Any = self.towers
        root.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            root.set_requires_gradient_sync(True)

    def reshard(self) -> None:
        """Have only shards of the weights again; after a forward pass that no backward pass follows, FSDP2 has more."""
        if self.sharded:
            from torch.distributed.fsdp import FSDPModule

            for module in self.towers.modules():
                if isinstance(module, FSDPModule):
                    module.reshard()


def make_engine(
    network: nn.Module,
    buckets: int,
    bf16: bool,
    machine: Machine,
    device: torch.device,
    world: World,
    patches: TowerPatches | None = None,
) -> Engine:
    """Put the network on the device, its towers ready. Raises ConfigError for what does not go together.

    patches: how the image tower gives patches, where a term asks for them.
    """
    if machine.micro_batch and has_batch_norm(network):
        raise ConfigError(
            "machine.micro_batch cuts the batch, but the student has batch normalisation, whose statistics are those "
            "of the whole batch; set micro_batch to 0 or take a student without it"
        )
    if machine.compile and patches is not None:
        raise ConfigError(
            "machine.compile does not reach the pass that gives the patches for the term 'patches'; set compile to "
            "false, or take the term out"
        )
    network.to(device).train()
    if machine.grad_checkpointing:
        recompute_activations(network)
    if machine.compile:
        compile_towers(network)
    towers: nn.Module = StudentTowers(network, buckets, COMPILED_STEP if machine.compile else STEP, patches)
    if world.size > 1:
        towers = _shard(towers) if machine.sharding == "fsdp" else _copy(towers, device)
    return Engine(towers, machine, device, world, bf16)


def has_batch_norm(network: nn.Module) -> bool:
    """Whether the pairs of a batch go into each other's outputs."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def _copy(towers: nn.Module, device: torch.device) -> nn.Module:
    ids = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(towers, device_ids=ids, gradient_as_bucket_view=True)


def _shard(towers: nn.Module) -> nn.Module:
    """Blocks of the transformers are gathered one at a time; the rest with the root. Scalars stay whole everywhere."""
    from torch.distributed.fsdp import fully_shard

    for block in transformer_blocks(towers):
        fully_shard(block)
    fully_shard(towers, ignored_params={p for p in towers.parameters() if p.ndim == 0})
    return towers


def transformer_blocks(network: nn.Module) -> list[nn.Module]:
    """The repeated blocks of both towers: children of module lists and sequences named blocks, resblocks or layer."""
    return [
        block
        for name, module in network.named_modules()
        if name.rpartition(".")[2] in ("blocks", "resblocks", "layer", "layers")
        and isinstance(module, nn.ModuleList | nn.Sequential)
        for block in module
    ]


def share_gradients(engine: Engine, objective: nn.Module) -> None:
    """Average the gradients that neither DDP nor FSDP shares: those of the objective, and of scalars under FSDP."""
    if engine.world.size == 1:
        return
    scalars = [p for p in engine.towers.parameters() if engine.sharded and p.ndim == 0]
    for parameter in [p for p in (*objective.parameters(), *scalars) if p.requires_grad]:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad = engine.world.sum(parameter.grad) / engine.world.size


def clipped_norm(parameters: list[nn.Parameter], limit: float) -> Tensor:
    """Scale the gradients to a common norm of at most `limit`; returns the norm before, on the device."""
    moved = [p for p in parameters if p.grad is not None]
    split = [[p for p in moved if isinstance(p, DTensor) is sharded] for sharded in (False, True)]
    groups = [group for group in split if group]  # the norm of nothing would be a tensor on the CPU
    parts = [nn.utils.get_total_norm([p.grad for p in group if p.grad is not None]) for group in groups]
    total: Tensor = torch.stack([part.full_tensor() if isinstance(part, DTensor) else part for part in parts]).norm()
    for group in groups:
        nn.utils.clip_grads_with_norm_(group, limit, total)
    return total
