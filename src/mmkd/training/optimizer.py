"""AdamW and the course of its learning rate."""

import math

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from mmkd.training.settings.train import TrainSettings


def make_optimizer(modules: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW over what is trained; gains, biases and the logit scale do not decay, as in CLIP.

    The student's shards (FSDP2) and what the objective has whole are groups of their own: no fused step takes both.
    """
    kinds: dict[tuple[bool, bool], list[nn.Parameter]] = {(True, False): [], (False, False): []}
    for parameter in modules.parameters():
        if parameter.requires_grad:
            kinds.setdefault((parameter.ndim >= 2, isinstance(parameter, DTensor)), []).append(parameter)
    groups = [{"params": alike, "weight_decay": settings.weight_decay * matrix} for (matrix, _), alike in kinds.items()]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True)


def learning_rate(step: int, total: int, settings: TrainSettings) -> float:
    """Linear warm-up, then half a cosine to 0; step counts from 0. A warm-up longer than a tenth of the run is cut."""
    warmup = min(settings.warmup_steps, max(total // 10, 1))
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
