"""One update: forward, named losses of the whole batch, backward, clip, a step of AdamW.

With `machine.micro_batch` the towers see a part of the pairs at a time and the loss is still that of all of them
(GradCache, arXiv 2101.06983): embed all parts without a graph, differentiate the loss with respect to the embeddings,
embed each part again and backpropagate its share. Letters: B pairs of this process, K of all, D student dimension.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmkd.distributed import World
from mmkd.randomness import Purpose, seed_of, torch_generator
from mmkd.teachers.files.open_clip_folder import OpenClipModel
from mmkd.training.batches import PairBatch
from mmkd.training.data.augment import augment, normalise
from mmkd.training.data.view import Embedded, View, gather_embedded, gather_rows, gather_teachers
from mmkd.training.engine import Engine, clipped_norm, share_gradients
from mmkd.training.matryoshka import matryoshka_losses
from mmkd.training.records.checkpoint import Trained
from mmkd.training.self_teacher import embed_by_average
from mmkd.training.settings.train import TrainSettings

MAX_LOG_SCALE = np.log(100.0)  # as CLIP does, so that logits stay finite


@dataclass(frozen=True)
class Outcome:
    """What a step found, on the device. losses: by name; bad: 1 where loss or gradient was not finite, else 0."""

    losses: dict[str, Tensor]
    total: Tensor
    norm: Tensor
    bad: Tensor


@dataclass
class Stepper:
    """Everything a step needs but its batch."""

    engine: Engine
    model: OpenClipModel
    objective: Any  # an Objective
    trained: Trained
    settings: TrainSettings
    seed: int

    def __post_init__(self) -> None:
        self._mean, self._std = (
            torch.tensor(self.model.preprocess[name], device=self.engine.device) for name in ("mean", "std")
        )

    def __call__(self, batch: PairBatch, step: int) -> Outcome:
        """One update by a batch on the device; all stays as it was where the loss or the gradient is not finite."""
        world = self.engine.world
        self.trained.optimizer.zero_grad(set_to_none=True)
        losses = self._backward(batch, step, self._average(batch))
        share_gradients(self.engine, self.objective)
        total = self._total(losses).detach()
        norm = clipped_norm(self._parameters(), self.settings.grad_clip)
        bad = world.sum((~(torch.isfinite(total) & torch.isfinite(norm))).float()).clamp(max=1)
        self._update(bad)
        return Outcome({name: loss.detach() for name, loss in losses.items()}, total, norm, bad)

    def _update(self, bad: Tensor) -> None:
        optimizer: Any = self.trained.optimizer
        optimizer.found_inf, optimizer.grad_scale = bad, None  # the fused AdamW then leaves all as it is
        optimizer.step()
        scale: Any = self.model.network.logit_scale
        with torch.no_grad():
            scale.clamp_(0.0, MAX_LOG_SCALE)

    def _parameters(self) -> list[nn.Parameter]:
        return [p for group in self.trained.optimizer.param_groups for p in group["params"]]

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.objective.weights[name] * loss for name, loss in losses.items()]).sum()

    def _average(self, batch: PairBatch) -> Embedded | None:
        average = self.trained.average
        if average is None or not self.settings.self_taught:
            return None
        plain = normalise(batch.image_BCHW, self._mean, self._std)
        return embed_by_average(average, self.model.network, self.engine, plain, batch.token_BL, batch.length_B)

    def _backward(self, batch: PairBatch, step: int, average: Embedded | None) -> dict[str, Tensor]:
        image, micro = self._image(batch, step), self.engine.machine.micro_batch
        if not micro or micro >= len(image):
            embedded = self._embed(image, batch, step, slice(0, len(image)))
            losses = self._losses(embedded, batch, step, average)
            self._total(losses).backward()  # type: ignore[no-untyped-call]
            return losses
        parts = [slice(first, first + micro) for first in range(0, len(image), micro)]
        with torch.no_grad():
            first_pass = [self._embed(image, batch, step, part) for part in parts]
        leaves = Embedded(
            torch.cat([one.image_BD for one in first_pass]).requires_grad_(),
            torch.cat([one.text_BD for one in first_pass]).requires_grad_(),
            first_pass[0].scale.clone().requires_grad_(),
            _joined([one.patch_BPE for one in first_pass]),
        )
        losses = self._losses(leaves, batch, step, average)
        self._total(losses).backward()  # type: ignore[no-untyped-call]
        for part in parts:
            with nullcontext() if part is parts[-1] else self.engine.without_sync():
                again = self._embed(image, batch, step, part)
                surrogate = _dot(again.image_BD, leaves.image_BD.grad, part) + _dot(
                    again.text_BD, leaves.text_BD.grad, part
                )
                if again.patch_BPE is not None and leaves.patch_BPE is not None:
                    surrogate = surrogate + _dot(again.patch_BPE, leaves.patch_BPE.grad, part)
                if part is parts[-1] and leaves.scale.grad is not None:
                    surrogate = surrogate + again.scale * leaves.scale.grad
                surrogate.backward()  # type: ignore[no-untyped-call]
        return losses

    def _image(self, batch: PairBatch, step: int) -> Tensor:
        world = self.engine.world
        count = len(batch.image_BCHW)
        image = augment(
            batch.image_BCHW,
            self.settings.augment,
            torch_generator(self.seed, Purpose.AUGMENTATION, step),
            total=count * world.size,
            first=count * world.rank,
        )
        return normalise(image, self._mean, self._std)

    def _embed(self, image: Tensor, batch: PairBatch, step: int, part: slice) -> Embedded:
        """The towers on some of the pairs; dropout draws from a state of the step's and the part's own."""
        first = len(image) * self.engine.world.rank + part.start
        torch.manual_seed(seed_of(self.seed, Purpose.DROPOUT, step, first))
        with self.engine.autocast():
            image_BD, text_BD, scale, patch_BPE = self.engine.towers(
                image[part], batch.token_BL[part], batch.length_B[part]
            )
        return Embedded(image_BD.float(), text_BD.float(), scale.float(), patch_BPE)  # patches are float32

    def _losses(self, own: Embedded, batch: PairBatch, step: int, average: Embedded | None = None) -> dict[str, Tensor]:
        world = self.engine.world
        offset = len(batch.caption_B) * world.rank
        draws = partial(torch_generator, self.seed, Purpose.OBJECTIVE_STEP, step)
        view = View(
            own=own,
            keys=gather_embedded(own, world),
            positive_BK=positives(batch.caption_B, batch.image_code_B, offset, world, self.settings.joint_positives),
            caption_weight_B=batch.caption_weight_B,
            teachers=batch.teachers,
            teacher_keys=gather_teachers(batch.teachers, world),
            generator=draws(),
            offset=offset,
            world=world,
            average=average,
            average_keys=None if average is None else gather_embedded(average, world),
        )
        return matryoshka_losses(self.objective, view, self.settings.matryoshka, draws)


def positives(caption_B: Tensor, image_B: Tensor, offset: int, world: World, joint: bool) -> Tensor:
    """Which pairs of all processes are positives of each own one (B, K): its own, and with `joint` its repeats.

    caption_B, image_B: codes; equal codes are equal captions or images. Own pair b is key offset + b.
    """
    if joint:
        caption_K, image_K = (gather_rows(code, world) for code in (caption_B, image_B))
        return (caption_B[:, None] == caption_K) | (image_B[:, None] == image_K)
    key_K = torch.arange(len(caption_B) * world.size, device=caption_B.device)
    return key_K[offset : offset + len(caption_B), None] == key_K


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    """The rows of all parts as a leaf, None where the towers give none."""
    given = [part for part in parts if part is not None]
    return torch.cat(given).requires_grad_() if given else None


def _dot(again_BD: Tensor, gradient_BD: Tensor | None, part: slice) -> Tensor:
    if gradient_BD is None:  # no loss reads this side
        return again_BD.sum() * 0.0
    return (again_BD * gradient_BD[part]).sum()
