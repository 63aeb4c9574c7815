"""AdamW and its learning rate."""

import math

import torch
from torch import nn

from mmkd.training.settings.train import TrainSettings


def make_optimizer(modules: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW over what is trained; gains, biases and the logit scale do not decay, as in CLIP."""
    parameters = [p for p in modules.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True)


def learning_rate(step: int, total: int, settings: TrainSettings) -> float:
    """Linear warm-up, then half a cosine to 0; step counts from 0. A warm-up longer than a tenth of the run is cut."""
    warmup = min(settings.warmup_steps, max(total // 10, 1))
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The same rate for every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr
