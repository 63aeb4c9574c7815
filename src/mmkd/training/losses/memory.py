"""Losses of pairs against keys in little memory: some rows at a time, each forgotten and computed again when needed.

Letters: B pairs, K keys.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Cells of a matrix at a time: 32 MiB in float32, and a loss holds five to ten such at once. Blocks of this size
# go back to the system when they are freed; glibc keeps smaller ones, and half the size cost twice the memory.
CELLS = 2**23
KEPT = 2**20  # cells of a whole matrix that is too small to be worth computing twice


def in_chunks(loss: Callable[..., Tensor], rows: Sequence[Tensor], width: int, cells: int | None = None) -> Tensor:
    """loss(*rows), one value a row (B,), on `cells` / `width` rows at a time; every tensor of `rows` is (B, ...).

    width: cells that a row takes, the keys of a contrastive loss.
    `loss` must treat each row by itself. What it computed is dropped after the forward pass and computed again in the
    backward pass, so the whole (B, K) is never there; only small ones are kept. Values do not depend on `cells`.
    """
    cells = CELLS if cells is None else cells
    if len(rows[0]) * width <= min(cells, KEPT):
        return loss(*rows)
    many = max(1, cells // max(width, 1))
    parts = zip(*(torch.split(tensor, many) for tensor in rows), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([loss(*part) for part in parts])
    # the losses draw nothing, so there is no state of a generator to keep
    return torch.cat([checkpoint(loss, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])
