"""Gated attention over the tiles of a bag, trained on frozen features; needs torch only.

N bags, B bags of a batch, T tiles (of the longest bag of a batch), D features, H hidden units, K outputs.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkd.evaluation.heads.settings import AttentionSettings
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.outcomes import Outcomes
from mmkd.statistics.survival.patients import patient_folds

NARROWEST = 1e-3  # columns that vary less than this share of the widest are not stretched: in few tiles it is chance
PREDICTED_TILES = 2**15  # tiles in memory at once when predicting
SHARED_CELLS = 2**20  # numbers of a batch from which on threads help: on small ones they wait for each other
Loss = Callable[[Tensor, Tensor], Tensor]
"""Of outputs (B, K) and targets (B, ...) to a scalar."""
BATCH = 64  # patients of a step of a Cox model: enough for risk sets, few enough for memory
HELD = 5  # one of so many training patients decides when to stop


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


class GatedAttention(nn.Module):
    """Ilse, Tomczak and Welling, Attention-based deep multiple instance learning (ICML 2018), equation 9.

    A tile's attention is the softmax over its bag of w (tanh(V x) * sigmoid(U x)); the bag is the sum of its tiles,
    weighted by attention, and a linear layer makes K outputs of it. Features are standardised first. The generator
    decides the weights; torch's global one is not touched.
    """

    mean_D: Tensor
    scale_D: Tensor

    def __init__(self, mean_D: Tensor, scale_D: Tensor, hidden: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("mean_D", mean_D)
        self.register_buffer("scale_D", scale_D)
        self.content = _linear(len(mean_D), hidden, generator)
        self.gate = _linear(len(mean_D), hidden, generator)
        self.attention = _linear(hidden, 1, generator)
        self.output = _linear(len(mean_D), outputs, generator)

    def forward(self, tile_BTD: Tensor, there_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (B, K) and attention (B, T), which adds up to one over each bag. there_BT: true where a tile is."""
        scaled_BTD = (tile_BTD - self.mean_D) / self.scale_D
        hidden_BTH = torch.tanh(self.content(scaled_BTD)) * torch.sigmoid(self.gate(scaled_BTD))
        raw_BT = self.attention(hidden_BTH).squeeze(-1).masked_fill(~there_BT, -math.inf)
        weight_BT = raw_BT.softmax(dim=1)
        bag_BD = torch.einsum("bt,btd->bd", weight_BT, scaled_BTD)
        return self.output(bag_BD), weight_BT


@dataclass(frozen=True)
class Training:
    """How a network is trained. patience: epochs without a lower loss on the val bags after which training ends; the
    weights of the best epoch are kept. batch_bags: bags a step, all of them where it is None."""

    epochs: int = 40
    lr: float = 1e-3
    weight_decay: float = 1e-3
    hidden: int = 64
    patience: int = 10
    batch_bags: int | None = 4


def fit_attention(
    bags: Sequence[Array],
    target_N: Array,
    loss: Loss,
    outputs: int,
    training: Training,
    generator: torch.Generator,
    val: tuple[Sequence[Array], Array] | None = None,
) -> GatedAttention:
    """Train on bags (T, D) with AdamW. The result depends on the arguments alone.

    target_N: a row for each bag, as the loss wants it (class numbers; event and time). val: bags and targets that
    decide when to stop; they must not be those that the network is judged on. Without, all epochs are run. A Cox loss
    compares bags of a batch: give `batch_bags=None`, and val bags with events. Raises ValueError without bags, for bags
    of different D, or a loss that is not finite.
    """
    _check(bags, target_N)
    network = GatedAttention(*_spread(bags), training.hidden, outputs, generator)
    optimizer = torch.optim.AdamW(network.parameters(), lr=training.lr, weight_decay=training.weight_decay)
    target = torch.from_numpy(np.asarray(target_N))
    best, best_epoch, best_loss = _copied(network), 0, math.inf
    with _threads(bags, training.batch_bags or len(bags)):
        for epoch in range(training.epochs):
            for chosen in _batches(len(bags), training.batch_bags, generator):
                _step(network, optimizer, [bags[n] for n in chosen], target[chosen], loss)
            if val is None:
                continue
            val_loss = float(loss(torch.from_numpy(attend(network, val[0])[0]), torch.from_numpy(np.asarray(val[1]))))
            if val_loss < best_loss:
                best, best_epoch, best_loss = _copied(network), epoch, val_loss
            elif epoch - best_epoch >= training.patience:
                break
    if val is not None:
        network.load_state_dict(best)
    return network.eval()


def _step(
    network: GatedAttention, optimizer: torch.optim.Optimizer, bags: Sequence[Array], target_B: Tensor, loss: Loss
) -> None:
    value = loss(network(*padded(bags))[0], target_B)
    if not torch.isfinite(value):
        raise ValueError(f"the loss is {value.item()} in training; check the features and the targets")
    optimizer.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def attend(network: GatedAttention, bags: Sequence[Array]) -> tuple[Array, list[Array]]:
    """Outputs, float32 (N, K), and the attention on each bag's tiles, each (T,)."""
    outputs, weights = [], []
    with torch.no_grad(), _threads(bags, len(bags)):
        for batch in _of_bounded_size(bags):
            output_BK, weight_BT = network(*padded(batch))
            outputs.append(output_BK.numpy())
            weights += [weight_T[: len(bag)].numpy() for bag, weight_T in zip(batch, weight_BT, strict=True)]
    return np.concatenate(outputs), weights


def balanced_cross_entropy(label_N: Array, classes: int) -> Loss:
    """Cross-entropy in which every class among the labels weighs the same; targets are class numbers (B,).

    Divided by the bags of a batch, not by their weights, so that a batch of a common class counts less.
    """
    count_K = torch.bincount(torch.from_numpy(label_N).long(), minlength=classes).float()
    weight_K = torch.where(count_K > 0, len(label_N) / ((count_K > 0).sum() * count_K.clamp(min=1)), 0.0)

    def loss(output_BK: Tensor, label_B: Tensor) -> Tensor:
        return F.cross_entropy(output_BK, label_B.long(), weight=weight_K, reduction="sum") / len(label_B)

    return loss


def cox(output_B1: Tensor, target_B2: Tensor) -> Tensor:
    """The Cox loss of one output, the log hazard; targets are event (1 or 0) and time (B, 2)."""
    return cox_loss(output_B1[:, 0], target_B2[:, 0], target_B2[:, 1].to(output_B1.dtype))


def padded(bags: Sequence[Array]) -> tuple[Tensor, Tensor]:
    """Bags side by side, filled up with zeros: float32 (B, T, D), and where there are tiles, boolean (B, T)."""
    longest = max(map(len, bags))
    tile_BTD = torch.zeros(len(bags), longest, bags[0].shape[1])
    there_BT = torch.zeros(len(bags), longest, dtype=torch.bool)
    for b, bag_TD in enumerate(bags):
        tile_BTD[b, : len(bag_TD)] = torch.from_numpy(np.asarray(bag_TD, np.float32))
        there_BT[b, : len(bag_TD)] = True
    return tile_BTD, there_BT


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """With the usual distribution of weights, uniform within one over the root of the inputs, from our generator."""
    layer = cast(nn.Linear, nn.utils.skip_init(nn.Linear, inputs, outputs))  # type: ignore[no-untyped-call]
    bound = 1 / math.sqrt(inputs)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator)
    return layer


def _spread(bags: Sequence[Array]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the features, each bag counting once however many tiles it has; float32 (D,) twice."""
    mean_D = np.mean([bag_TD.mean(axis=0, dtype=np.float64) for bag_TD in bags], axis=0)
    square_D = np.mean([((bag_TD - mean_D) ** 2).mean(axis=0) for bag_TD in bags], axis=0)
    scale_D = np.sqrt(square_D)
    widest = float(scale_D.max())
    scale_D = np.maximum(scale_D, NARROWEST * widest if widest > 0 else 1.0)
    return torch.from_numpy(mean_D.astype(np.float32)), torch.from_numpy(scale_D.astype(np.float32))


def _batches(bags: int, size: int | None, generator: torch.Generator) -> Iterator[Tensor]:
    if size is None:
        return iter([torch.arange(bags)])
    order_N = torch.randperm(bags, generator=generator)
    return (order_N[start : start + size] for start in range(0, bags, size))


def _of_bounded_size(bags: Sequence[Array]) -> Iterator[list[Array]]:
    batch: list[Array] = []
    longest = 0
    for bag in bags:
        longest = max(longest, len(bag))
        if batch and longest * (len(batch) + 1) > PREDICTED_TILES:
            yield batch
            batch, longest = [], len(bag)
        batch.append(bag)
    if batch:
        yield batch


@contextmanager
def _threads(bags: Sequence[Array], size: int) -> Iterator[None]:
    """One thread of torch for small batches of `size` bags, as many as before for large ones and afterwards."""
    before = torch.get_num_threads()
    small = size * max(bag_TD.size for bag_TD in bags) < SHARED_CELLS
    torch.set_num_threads(1 if small else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _check(bags: Sequence[Array], target_N: Array) -> None:
    if not len(bags) or len(bags) != len(target_N):
        raise ValueError(f"{len(bags)} bags and {len(target_N)} targets, expected one target for each of some bags")
    shapes = sorted({bag.shape[1:] for bag in bags})
    if len(shapes) > 1 or len(shapes[0]) != 1 or min(map(len, bags)) == 0:
        raise ValueError(f"bags of tiles of shapes {shapes}, expected (T, D) with one D and T > 0")


def attention_risks(
    train: Sequence[Array],
    outcomes: Outcomes,
    patients: Sequence[str],
    others: Sequence[Array],
    settings: AttentionSettings,
    rng: np.random.Generator,
) -> Array:
    """Fit on the training patients' bags (T, D), predict the others; higher = earlier event, float64 (H,).

    A fifth of the training patients, events spread evenly, decides when to stop; with fewer than ten events everybody
    trains and all epochs are run.
    """
    training = Training(settings.epochs, settings.lr, settings.weight_decay, settings.hidden, batch_bags=BATCH)
    target_M2 = np.stack([outcomes.event_N, outcomes.time_N], axis=1).astype(np.float32)
    held_M = np.zeros(len(train), np.bool_)
    if np.count_nonzero(outcomes.event_N) >= 2 * HELD:
        held_M = patient_folds(outcomes, patients, HELD, rng) == 0
    kept = [bag for bag, held in zip(train, held_M, strict=True) if not held]
    val = [bag for bag, held in zip(train, held_M, strict=True) if held]
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    network = fit_attention(
        kept, target_M2[~held_M], cox, 1, training, generator, (val, target_M2[held_M]) if val else None
    )
    return np.asarray(attend(network, others)[0][:, 0].astype(np.float64))
