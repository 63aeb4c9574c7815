"""Stage 1 as mmkd trains it and as open_clip's own trainer does: same weights, same pairs in the same order.

open_clip's side is `open_clip_train.train.train_one_epoch` with its loss, its schedule, its transform and its
tokenizer, as its command line puts them together; only the order of the pairs is given. No picture is augmented. Both
sides run in this process, so that their processor time can be compared. Letters: B pairs of a step.
"""

import time
from argparse import Namespace
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip_train.scheduler import cosine_lr
from open_clip_train.train import train_one_epoch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmkd.corpus.schema import Corpus
from mmkd.settings import Machine
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import OpenClipModel
from mmkd.training.data.order import Order
from mmkd.training.loop import Place
from mmkd.training.objectives.contrastive import Contrastive
from mmkd.training.records.metrics_log import METRICS, read_metrics
from mmkd.training.settings.train import PretrainSettings
from mmkd.training.train import train

PRECISION = {"fp32": "fp32", "bf16": "amp_bf16"}  # mmkd's word: open_clip's


@dataclass(frozen=True)
class Run:
    """What a training showed. losses: one a step, before its update. cpu_s, wall_s: reading and steps, no loading."""

    losses: list[float]
    cpu_s: float
    wall_s: float

    def apart(self, other: "Run") -> float:
        """The largest difference of the losses of a step. Raises ValueError where the numbers of steps differ."""
        return max(abs(a - b) for a, b in zip(self.losses, other.losses, strict=True))


@dataclass(frozen=True)
class Case:
    """One comparison. settings: those of a stage 1 without augmentation; folder: an empty one, to work in."""

    corpus: Corpus
    student: StudentSettings
    settings: PretrainSettings
    folder: Path
    machine: Machine
    seed: int = 0

    def model(self) -> OpenClipModel:
        """The student before its first step; the same weights at each call."""
        return build_student(self.student, self.seed)

    @property
    def order(self) -> Order:
        return Order(len(self.corpus.rows("train")), self.settings.batch_size, self.seed)

    @property
    def steps(self) -> int:
        return self.settings.epochs * self.order.steps_per_epoch

    @property
    def warmup(self) -> int:
        """Steps of the warm-up: mmkd cuts one that is longer than a tenth of the run, and open_clip does not."""
        return min(self.settings.warmup_steps, max(self.steps // 10, 1))

    def ours(self) -> Run:
        """mmkd's loop; joint positives are off, since open_clip takes equal captions for negatives of one another."""
        settings = self.settings.model_copy(update={"joint_positives": False, "log_every": 1})
        model, place = self.model(), Place(self.folder, self.machine, self.seed)
        clock = Clock()
        train(model, Contrastive(settings), settings, self.corpus, place)
        return clock.run([float(record["loss"] or 0.0) for record in read_metrics(self.folder / METRICS)])

    def theirs(self) -> Run:
        """open_clip's trainer."""
        model, settings = self.model(), self.settings
        network: Any = deepcopy(model.network)
        network.output_dict = True  # as its command line builds it
        args = self._arguments()
        clock, seen = Clock(), Seen()
        optimizer = _optimizer(network, settings)
        scheduler = cosine_lr(optimizer, settings.lr, self.warmup, self.steps)
        loss, pairs = open_clip.create_loss(args), Pairs(self.corpus, model)
        for epoch in range(settings.epochs):
            data = {"train": Data(pairs, self.order, epoch)}
            train_one_epoch(network, data, loss, epoch, optimizer, None, scheduler, None, args, seen)
        return clock.run(seen.losses)

    def _arguments(self) -> Namespace:
        """Those of its command line that the loop and the loss read."""
        settings = self.settings
        return Namespace(
            model="",
            device="cpu",
            precision=PRECISION[settings.precision],
            distill=False,
            siglip=False,
            accum_freq=1,
            skip_scheduler=False,
            grad_clip_norm=settings.grad_clip,
            horovod=False,
            local_loss=False,
            gather_with_grad=False,
            rank=0,
            local_rank=0,
            world_size=1,
            batch_size=settings.batch_size,
            log_every_n_steps=1,
            wandb=False,
        )


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start, self._used = time.perf_counter(), time.process_time()

    def run(self, losses: list[float]) -> Run:
        return Run(losses, time.process_time() - self._used, time.perf_counter() - self._start)


class Seen:
    """In place of TensorBoard: keeps the loss of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def add_scalar(self, name: str, value: float, _: int) -> None:
        if name == "train/loss":
            self.losses.append(value)


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """The training pairs by open_clip's own transform and tokenizer, as its data sets read them."""

    def __init__(self, corpus: Corpus, model: OpenClipModel) -> None:
        self.corpus, self.rows, self.tokenizer = corpus, corpus.rows("train"), model.tokenizer
        self.transform = image_transform_v2(PreprocessCfg(**model.preprocess), is_train=False)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        table = self.corpus.take(self.rows[[position]])
        image = Image.open(BytesIO(table.column("image").combine_chunks().field("bytes")[0].as_py()))
        return self.transform(image), self.tokenizer([table.column("caption")[0].as_py()])[0]


class Data:
    """An epoch's batches in a given order, with the attributes that open_clip's loop reads."""

    def __init__(self, pairs: Pairs, order: Order, epoch: int) -> None:
        count = order.steps_per_epoch
        steps = range(epoch * count, (epoch + 1) * count)
        self.dataloader: Any = DataLoader(pairs, batch_sampler=Batches(order, steps), num_workers=0)
        self.dataloader.num_batches, self.dataloader.num_samples = count, count * order.batch_size

    def set_epoch(self, _: int) -> None:
        """The order is given already."""


class Batches:
    """Positions of the pairs of each step."""

    def __init__(self, order: Order, steps: range) -> None:
        self.order, self.steps = order, steps

    def __iter__(self) -> Iterator[list[int]]:
        return (np.asarray(self.order.at(step)).tolist() for step in self.steps)

    def __len__(self) -> int:
        return len(self.steps)


def _optimizer(network: torch.nn.Module, settings: PretrainSettings) -> torch.optim.Optimizer:
    """AdamW as open_clip's command line makes it: what has one dimension or none does not decay."""
    flat: SimpleNamespace = SimpleNamespace(no=[], yes=[])
    for parameter in network.parameters():
        (flat.yes if parameter.ndim < 2 else flat.no).append(parameter)
    groups = [{"params": flat.yes, "weight_decay": 0.0}, {"params": flat.no, "weight_decay": settings.weight_decay}]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps)
