"""The Cox loss of a mini-batch, for networks that predict log hazards; B patients of a batch."""

import torch
from torch import Tensor


def cox_loss(log_hazard_B: Tensor, event_B: Tensor, time_B: Tensor) -> Tensor:
    """Negative log partial likelihood of the batch, divided by its events; a scalar, zero or more.

    event_B: 1 or true = it happened, 0 = censored. Risk sets are those of the batch, so a batch should be large; one
    without events gives 0 with zero gradients, to be left out of averages. Adding a constant to all log hazards changes
    nothing. Raises ValueError for shapes other than (B,). Tied events are treated after Efron.
    """
    if not log_hazard_B.shape == event_B.shape == time_B.shape == (len(time_B),):
        shapes = [tuple(tensor.shape) for tensor in (log_hazard_B, event_B, time_B)]
        raise ValueError(f"log hazards, events and times have shapes {shapes}; expected the same (B,)")
    event_B = event_B.bool()
    if not event_B.any():
        return log_hazard_B.sum() * 0
    held_BB = (time_B >= time_B[:, None]).to(log_hazard_B.dtype)  # row: an event, column: who is at risk then
    held_BB = held_BB - _tied_shares(event_B, time_B).to(held_BB)
    # log-sum-exp with the shares as weights: hazards of a network may overflow exp, most of all in half precision
    denominator_E = torch.logsumexp((log_hazard_B + held_BB.log())[event_B], dim=1)
    return (denominator_E - log_hazard_B[event_B]).mean()


def _tied_shares(event_B: Tensor, time_B: Tensor) -> Tensor:
    """Which share of each tied event an event leaves out of its risk set: k/d for the k-th (from 0) of d tied ones."""
    tied_BB = (time_B == time_B[:, None]) & event_B & event_B[:, None]
    before_B = tied_BB.tril(-1).sum(dim=1).double()  # or the quotient of integers is rounded to float32
    return tied_BB * (before_B / tied_BB.sum(dim=1).clamp(min=1))[:, None]
