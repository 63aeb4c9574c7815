"""The training loop of both stages: one step is forward, named losses, backward, clip, update."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmkd.errors import ConfigError, TrainingError
from mmkd.open_clip_folder import OpenClipModel
from mmkd.progress import say, track
from mmkd.settings import Machine
from mmkd.training.augment import augment, normalise
from mmkd.training.batches import PairBatch, StepBatches, loader
from mmkd.training.checkpoint import Trained, restore_newest, save_checkpoint
from mmkd.training.metrics_log import MetricsLog
from mmkd.training.order import step_generator, steps_per_epoch
from mmkd.training.settings import TrainSettings
from mmkd.training.view import Embedded, TeacherBatch, view_alone

AUGMENT, OBJECTIVE, DROPOUT = 1, 2, 3  # purposes of a step's random numbers
MAX_LOG_SCALE = math.log(100.0)  # as CLIP does, so that logits stay finite


@dataclass
class Fit:
    """One training run: what is trained, on what, how, and where its checkpoints go."""

    model: OpenClipModel
    objective: Any  # an Objective, which is also a torch module
    batches: StepBatches
    settings: TrainSettings
    machine: Machine
    device: torch.device
    folder: Path
    seed: int

    @property
    def total_steps(self) -> int:
        return self.settings.epochs * steps_per_epoch(len(self.batches.rows), self.settings.batch_size)


def fit(run: Fit) -> None:
    """Train to the last step, from the newest checkpoint in the folder if there is one.

    Raises ConfigError when the corpus is smaller than a batch, TrainingError on a non-finite loss.
    """
    if run.total_steps == 0:
        raise ConfigError(
            f"batch_size {run.settings.batch_size} is larger than the {len(run.batches.rows)} training pairs; "
            "lower it or add pairs"
        )
    network = run.model.network.to(run.device).train()
    run.objective.to(run.device).train()
    trained = Trained(network, run.objective, _optimizer(network, run.objective, run.settings))
    first = restore_newest(run.folder / "checkpoints", trained)
    if first:
        say(f"  resumed after step {first:,} of {run.total_steps:,}")
    log = MetricsLog(run.folder, first)
    _steps(run, trained, first, log)
    log.close()
    network.eval()


def _steps(run: Fit, trained: Trained, first: int, log: MetricsLog) -> None:
    settings, start, waited = run.settings, time.perf_counter(), 0.0
    batches = iter(loader(run.batches, first, run.total_steps, run.machine))
    for step in track(range(first, run.total_steps), "train", run.total_steps, "steps", first):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        _set_lr(trained.optimizer, learning_rate(step, run.total_steps, settings))
        record = train_step(run, trained, batch, step)
        done = step + 1
        if done % settings.log_every == 0 or done == run.total_steps:
            seconds = time.perf_counter() - start
            record |= {"pairs_per_s": (done - first) * settings.batch_size / seconds, "wait": waited / seconds}
            log.write({"step": done, "lr": trained.optimizer.param_groups[0]["lr"], **record})
        if done % settings.checkpoint_every == 0 and done < run.total_steps:
            save_checkpoint(run.folder / "checkpoints", done, trained)


def train_step(run: Fit, trained: Trained, batch: PairBatch, step: int) -> dict[str, float]:
    """One update; returns the named losses, the total, the gradient's norm and the logit scale as numbers."""
    losses = _forward(run, batch, step)
    total = torch.stack([run.objective.weights[name] * loss for name, loss in losses.items()]).sum()
    if not torch.isfinite(total):
        _stop(run, batch, step, losses)
    trained.optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    parameters = [p for group in trained.optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, run.settings.grad_clip)
    trained.optimizer.step()
    scale = run.model.network.logit_scale
    with torch.no_grad():
        scale.clamp_(0.0, MAX_LOG_SCALE)  # type: ignore[operator]
    if (step + 1) % run.settings.log_every and step + 1 != run.total_steps:
        return {}
    named = {name: loss.item() for name, loss in losses.items()}
    return {"loss": total.item(), **named, "grad_norm": norm.item(), "logit_scale": scale.exp().item()}  # type: ignore[operator]


def _forward(run: Fit, batch: PairBatch, step: int) -> dict[str, Tensor]:
    device, settings = run.device, run.settings
    image = augment(batch.image_BCHW.to(device), settings.augment, step_generator(run.seed, step, AUGMENT))
    mean, std = (torch.tensor(run.model.preprocess[name], device=device) for name in ("mean", "std"))
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16")
    with _dropout_seed(run.seed, step), autocast:
        embedded = run.model.network(normalise(image, mean, std), batch.token_BL.to(device))
    student = Embedded(embedded[0].float(), embedded[1].float(), embedded[2].float())
    caption_B = batch.caption_B.to(device)
    alone_BB = torch.eye(len(caption_B), dtype=torch.bool, device=device)
    positive_BB = caption_B[:, None] == caption_B[None, :] if settings.joint_positives else alone_BB
    teachers = _to_device(batch.teachers, device)
    found: dict[str, Tensor] = run.objective(
        view_alone(student, positive_BB, teachers, step_generator(run.seed, step, OBJECTIVE))
    )
    return found


def _to_device(batch: TeacherBatch | None, device: torch.device) -> TeacherBatch | None:
    if batch is None:
        return None
    image, text = ([side.to(device, non_blocking=True) for side in both] for both in (batch.image, batch.text))
    return TeacherBatch(image, text, batch.weight_BT.to(device), batch.available_BT.to(device))


def _stop(run: Fit, batch: PairBatch, step: int, losses: dict[str, Tensor]) -> None:
    named = ", ".join(f"{name} {loss.item():g}" for name, loss in losses.items())
    ids = run.batches.images.corpus.take(batch.row_B).column("id").to_pylist()
    raise TrainingError(
        f"step {step + 1}: the loss is not finite ({named}); the last checkpoint stays. "
        f"Look at these pairs or lower the learning rate: {', '.join(ids)}"
    )


def learning_rate(step: int, total: int, settings: TrainSettings) -> float:
    """Linear warm-up, then half a cosine to 0; step counts from 0. A warm-up longer than a tenth of the run is cut."""
    warmup = min(settings.warmup_steps, max(total // 10, 1))
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


def _set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def _optimizer(network: nn.Module, objective: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW; gains, biases and the logit scale do not decay, as in CLIP."""
    parameters = [p for module in (network, objective) for p in module.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.ndim >= 2]
    others = [p for p in parameters if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True)


@contextmanager
def _dropout_seed(seed: int, step: int) -> Iterator[None]:
    """Towers with dropout draw from torch's global generator: give it a state of the step's own, then its old one."""
    with torch.random.fork_rng():
        torch.random.set_rng_state(step_generator(seed, step, DROPOUT).get_state())
        yield
