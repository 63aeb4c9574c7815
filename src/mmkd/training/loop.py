"""The training loop of both stages: steps from the newest checkpoint to the last one, and never a lost run.

SIGTERM, which schedulers send before they kill, sets a flag that the loop reads.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmkd.distributed import ALONE, World
from mmkd.errors import ConfigError, TrainingError
from mmkd.progress import say, track
from mmkd.settings import Machine
from mmkd.teachers.encoders.patches import TowerPatches
from mmkd.teachers.files.open_clip_folder import OpenClipModel
from mmkd.training.batches import Prefetcher, StepBatches, loader
from mmkd.training.engine import has_batch_norm, make_engine
from mmkd.training.experimental.average import MovingAverage, mix
from mmkd.training.optimizer import learning_rate, make_optimizer, set_learning_rate
from mmkd.training.records.checkpoint import Trained, load_best, restore_newest, save_best, save_checkpoint, whole
from mmkd.training.records.checkpoint_files import with_room
from mmkd.training.records.metrics_log import METRICS, SKIPPED, MetricsLog, list_skipped
from mmkd.training.settings.train import TrainSettings
from mmkd.training.step import Outcome, Stepper
from mmkd.training.throughput import TRAINING, Throughput
from mmkd.training.validate import METRIC, Validation

CHECKPOINTS = "checkpoints"


class Interrupt:
    """Whether the process has received SIGTERM."""

    received = False

    def receive(self, *_: Any) -> None:
        self.received = True


@contextmanager
def listen() -> Iterator[Interrupt]:
    """Catch SIGTERM while the context lasts; outside the main thread, where Python allows none, nothing is caught."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = signal.signal(signal.SIGTERM, interrupt.receive)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True)
class Place:
    """Where a stage works. folder: the partial one; home: where it will stand in the end; world: who works with it."""

    folder: Path
    machine: Machine
    seed: int
    home: Path | None = None
    world: World = ALONE


@dataclass
class Fit:
    """One training run: what is trained, on what, how, and where its checkpoints go.

    patches: how the student gives patches, where a term asks for them.
    """

    model: OpenClipModel
    objective: Any  # an Objective
    batches: StepBatches
    settings: TrainSettings
    place: Place
    device: torch.device
    validation: Validation | None = None
    patches: TowerPatches | None = None
    _unchecked: list[tuple[int, Outcome]] = field(default_factory=list)

    @property
    def total_steps(self) -> int:
        return self.settings.epochs * self.batches.order.steps_per_epoch

    @property
    def checkpoints(self) -> Path:
        return self.place.folder / CHECKPOINTS

    def say(self, line: str) -> None:
        """Say it once, however many processes train."""
        if self.place.world.first:
            say(line)


def fit(run: Fit) -> dict[str, Tensor]:
    """Train to the last step, from the newest checkpoint in the folder if there is one; the steps skipped are listed.

    Returns the student's weights on the CPU.

    Raises ConfigError when the corpus is smaller than a batch, TrainingError on a loss that is not finite or a full
    disk, DataError on damaged best weights, SystemExit with code 0 after SIGTERM, once everything is saved.
    """
    if run.total_steps == 0:
        raise ConfigError(
            f"batch_size {run.settings.batch_size} is larger than the {run.batches.order.pairs} training pairs; "
            "lower it or add pairs"
        )
    start = _weights(run.model.network) if run.settings.wise_ft < 1 else {}
    devices = [run.device] if run.device.type == "cuda" else []
    with torch.random.fork_rng(devices), listen() as interrupt:
        stepper = _stepper(run)
        first = restore_newest(run.checkpoints, stepper.trained, run.say)
        if first:
            run.say(f"  resumed after step {first:,} of {run.total_steps:,}")
        _list_skipped(run, stepper.trained)  # without those that are to be repeated
        _steps(run, stepper, first, interrupt)
    return _published(run, stepper.trained, start)


def _stepper(run: Fit) -> Stepper:
    settings, network = run.settings, run.model.network
    if settings.batch_size == run.place.world.size and has_batch_norm(network):
        raise ConfigError(
            f"batch_size {settings.batch_size} is one pair a process, but the student has batch normalisation, which "
            "needs two or more; raise batch_size or take a student without it"
        )
    groups, bf16 = settings.groups(run.batches.captions.context), settings.precision == "bf16"
    engine = make_engine(network, groups, bf16, run.place.machine, run.device, run.place.world, run.patches)
    run.objective.to(run.device).train()
    modules = torch.nn.ModuleDict({"student": network, "objective": run.objective})
    average = MovingAverage(network, settings.ema) if settings.ema else None
    trained = Trained(modules, make_optimizer(modules, settings), average)
    return Stepper(engine, run.model, run.objective, trained, settings, run.place.seed)


def _steps(run: Fit, stepper: Stepper, first: int, interrupt: Interrupt) -> None:
    log = _log(run, stepper.trained, first) if run.place.world.first else None
    meter = Throughput(stepper.engine, run.model, run.settings.batch_size, TRAINING + run.settings.self_taught)
    batches = Prefetcher(loader(run.batches, first, run.total_steps, run.place.machine), run.device)
    steps = range(first, run.total_steps)
    try:
        for step in track(steps, "train", run.total_steps, "steps", first) if run.place.world.first else steps:
            batch = next(batches)
            set_learning_rate(stepper.trained.optimizer, learning_rate(step, run.total_steps, run.settings))
            outcome = stepper(batch, step)
            if stepper.trained.average is not None:
                stepper.trained.average.update(run.model.network, step, outcome.bad)
            meter.add(batch, batches.waited)
            run._unchecked.append((step, outcome))
            _after(run, stepper, step + 1, interrupt, log, meter)
    finally:
        if log is not None:
            log.close()


def _log(run: Fit, trained: Trained, first: int) -> MetricsLog:
    place = run.place
    begin = partial(MetricsLog, place.folder, first, place.machine.track, (place.home or place.folder).name)
    return with_room(run.checkpoints, METRICS, trained.best_step, begin)


def _after(
    run: Fit, stepper: Stepper, done: int, interrupt: Interrupt, log: MetricsLog | None, meter: Throughput
) -> None:
    """What is due once `done` steps are made: a check of the numbers, validation, a checkpoint, a record, the end."""
    settings, last = run.settings, done == run.total_steps
    stop = bool(run.place.world.sum(torch.tensor(float(interrupt.received))))
    save = stop or (done % settings.checkpoint_every == 0 and not last)
    validate = run.validation is not None and (done % settings.validate_every == 0 or last)
    record = validate or done % settings.log_every == 0 or last
    if record or save or run.device.type == "cpu":
        _, outcome = run._unchecked[-1]
        _check_finite(run, stepper.trained)
    else:
        return  # nothing of this step has to reach the host
    found: dict[str, float] = {}
    if record:
        found |= _numbers(run, stepper, outcome) | meter.record()
    if validate:
        found[METRIC] = _validate(run, stepper, done)
        meter.restart()
    if record and log is not None:
        with_room(run.checkpoints, METRICS, stepper.trained.best_step, partial(log.write, {"step": done, **found}))
    if save:
        save_checkpoint(run.checkpoints, done, stepper.trained, settings.keep_last, writes=run.place.world.first)
    if stop:
        run.place.world.wait()
        run.say(f"stopped by SIGTERM after step {done:,} of {run.total_steps:,}; run the same command again to go on")
        raise SystemExit(0)


def _numbers(run: Fit, stepper: Stepper, outcome: Outcome) -> dict[str, float]:
    names = list(outcome.losses)
    values = run.place.world.sum(torch.stack([outcome.total, *outcome.losses.values()])) / run.place.world.size
    total, *named = values.tolist()
    lr = stepper.trained.optimizer.param_groups[0]["lr"]
    scale: Any = run.model.network.logit_scale
    found = {"lr": lr, "loss": total, **dict(zip(names, named, strict=True))}
    found |= {"grad_norm": outcome.norm.item(), "logit_scale": whole(scale).exp().item()}
    if stepper.trained.skipped:
        found["skipped"] = float(len(stepper.trained.skipped))
    return found


def _check_finite(run: Fit, trained: Trained) -> None:
    """Read whether the steps since the last check were finite. Raises TrainingError where that is not allowed."""
    for step, outcome in run._unchecked:
        if not outcome.bad.item():
            continue
        ids = run.batches.ids(step)
        named = ", ".join(f"{name} {loss.item():g}" for name, loss in outcome.losses.items())
        trained.skipped.append({"step": step + 1, "ids": ids})
        count, allowed = len(trained.skipped), run.settings.max_skipped
        if run.settings.on_nonfinite == "stop" or count > allowed:
            more = f", the case number {count}; at most {allowed} are skipped" if count > 1 else ""
            raise TrainingError(
                f"step {step + 1}: loss or gradient is not finite ({named}){more}. The step changed nothing, the last "
                f"checkpoint stays. Look at these pairs or lower the learning rate: {', '.join(ids)}"
            )
        run.say(f"  step {step + 1:,}: loss or gradient is not finite ({named}); skipped, {count} of at most {allowed}")
        _list_skipped(run, trained)
    run._unchecked.clear()


def _list_skipped(run: Fit, trained: Trained) -> None:
    if run.place.world.first:
        write = partial(list_skipped, run.place.folder, trained.skipped)
        with_room(run.checkpoints, SKIPPED, trained.best_step, write)


def _validate(run: Fit, stepper: Stepper, done: int) -> float:
    """Score the weights that would be published, and keep them where they are the best so far."""
    trained, network = stepper.trained, run.model.network
    if run.validation is None:
        raise ConfigError("no validation pairs are at hand; set [curate] val above 0")
    with trained.average.in_place(trained.student) if trained.average else nullcontext():
        network.eval()
        score = run.validation.score(run.model, stepper.engine)
        network.train()
        if run.settings.select == "best" and (trained.best is None or score > trained.best[0]):
            weights = _weights(network)  # all processes gather, the first one writes
            if run.place.world.first:
                save_best(run.checkpoints, done, weights, score)
            trained.best = (score, done)
    return score


def _published(run: Fit, trained: Trained, start: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that the settings ask for: the last or the best ones, averaged over steps, mixed with the first."""
    network = run.model.network.eval()
    if trained.average is not None:
        trained.average.copy_to(network)
    weights = _weights(network)
    if trained.best is not None:
        score, step = trained.best
        run.place.world.wait()  # rank 0 has written them
        weights = load_best(run.checkpoints, step)
        run.say(f"  the weights after step {step:,} are taken, {METRIC} {score:.4f}")
    return mix(start, weights, run.settings.wise_ft) if start else weights


def _weights(network: torch.nn.Module) -> dict[str, Tensor]:
    """The whole state of the network on the CPU, gathered from all processes."""
    return {name: whole(value).detach().to("cpu", copy=True) for name, value in network.state_dict().items()}
