"""Losses of pairs against keys in little memory: some rows at a time, each forgotten and computed again when needed.

Letters: B pairs, K keys.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CELLS = 2**22  # of a (rows, K) matrix: 16 MiB in float32, and a loss holds five to ten such at once


def in_chunks(loss: Callable[..., Tensor], rows: Sequence[Tensor], keys: int, cells: int | None = None) -> Tensor:
    """loss(*rows), one value a row (B,), on `cells` / `keys` rows at a time; every tensor of `rows` is (B, ...).

    `loss` must treat each row by itself. What it computed is dropped after the forward pass and computed again in the
    backward pass, so the whole (B, K) is never there; what fits in one chunk is kept. Values do not depend on `cells`.
    """
    many = max(1, (CELLS if cells is None else cells) // max(keys, 1))
    if len(rows[0]) <= many:
        return loss(*rows)
    parts = zip(*(torch.split(tensor, many) for tensor in rows), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([loss(*part) for part in parts])
    # the losses draw nothing, so there is no state of a generator to keep
    return torch.cat([checkpoint(loss, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])
