"""LoRA of the image tower against fixed prompts, merged into the weights; N pictures, B of a batch, C classes.

Low-rank adaptation (arXiv 2106.09685) of a CLIP's image tower with the cross-entropy over its class prompts, as
arXiv 2405.18541 has it for few labels (there of both towers).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkd.adapt.gain import Gain, gain_of
from mmkd.adapt.select import Labelled
from mmkd.device import prepare
from mmkd.errors import ConfigError, ModelError, TrainingError
from mmkd.inference.model import model_spec
from mmkd.progress import say
from mmkd.randomness import Purpose, torch_generator
from mmkd.settings import Machine
from mmkd.statistics.metrics import Array
from mmkd.teachers.files import open_clip_folder
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import LOCAL

METHOD = "LoRA"
SOURCE = "LoRA of the image tower against the prompts, arXiv 2106.09685 and 2405.18541"


@dataclass(frozen=True)
class LoraSettings:
    """rank: of the changes. patience: epochs without a better result on the held-out pictures after which training
    ends; the best epoch is kept, and epoch 0 is the model as it was."""

    rank: int = 4
    epochs: int = 30
    patience: int = 5
    lr: float = 1e-3
    weight_decay: float = 1e-2
    batch_size: int = 32


@dataclass(frozen=True, eq=False)
class Tuned:
    """epoch: the best one, 0 where none was clearly better than the model as it was. gain: of the best one on the
    held-out pictures, as the best of all epochs. val_NC, val_label_N, val_group_N: their logits, labels and groups."""

    epoch: int
    gain: Gain
    val_NC: Array
    val_label_N: Array
    val_group_N: Array


class ImageTower:
    """The image tower of an open_clip folder, to be tuned again and again from the same weights."""

    def __init__(self, model: str, device: str, settings: LoraSettings) -> None:
        if not (Path(model) / open_clip_folder.CONFIG).is_file():
            raise ConfigError(f"--lora needs an open_clip folder, such as a student's export; {model} is none")
        try:
            import peft  # noqa: F401
        except ImportError as error:
            raise ConfigError("--lora needs the library peft; install it: pip install 'mmkd[adapt]'") from error
        self.folder, self.settings = Path(model), settings
        self.teacher = load_teacher(model_spec(f"{LOCAL}{model}"), prepare(Machine(device=device)))
        self.network = cast(Any, self.teacher.towers.network)
        self._first = {name: value.clone() for name, value in self.network.state_dict().items()}
        if not targets(self.network.visual):
            raise ModelError(
                f"{model}: no linear layer or convolution found in the image tower; LoRA has nothing to tune"
            )

    def vectors(self, pixel_NCHW: Array) -> Array:
        """Unit vectors with the weights as they are now."""
        size = self.settings.batch_size
        parts = [
            self.teacher.encode_images(torch.from_numpy(pixel_NCHW[start : start + size])).numpy()
            for start in range(0, len(pixel_NCHW), size)
        ]
        return np.concatenate(parts)

    def tune(self, data: Labelled, pixel_NCHW: Array, val_N: Array, seed: int) -> Tuned:
        """Train on the pictures outside of val, stop by those inside, merge the best epoch's change into the weights.

        Starts from the folder's weights. The result depends on the arguments alone. Raises TrainingError for a loss
        that is not finite.
        """
        from peft import LoraConfig, get_peft_model

        self.network.load_state_dict(self._first)
        names = targets(self.network.visual)
        rank = self.settings.rank
        wrapped = get_peft_model(self.network.visual, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names))
        weights = _initialised(wrapped, torch_generator(seed, Purpose.LORA_WEIGHTS))
        self.network.to(self.teacher.device).eval()  # running statistics and dropout stay as they are
        best, tuned = [weight.detach().clone() for weight in weights], self._judged(data, pixel_NCHW, val_N, 0)
        first_val_NC, found = tuned.val_NC, tuned
        for epoch in self._epochs(weights, data, pixel_NCHW, ~val_N, seed):
            tuned = self._judged(data, pixel_NCHW, val_N, epoch, first_val_NC)
            if tuned.gain.value > found.gain.value:
                best, found = [weight.detach().clone() for weight in weights], tuned
            elif epoch - found.epoch >= self.settings.patience:
                break
        if not found.gain.is_clear:
            found = replace(found, epoch=0, val_NC=first_val_NC)
            best = [torch.zeros_like(weight) for weight in best]
        with torch.no_grad():
            for weight, value in zip(weights, best, strict=True):
                weight.copy_(value)
        wrapped.merge_and_unload()
        self.network.requires_grad_(False).eval()
        return found

    def _epochs(
        self, weights: list[nn.Parameter], data: Labelled, pixel_NCHW: Array, train_N: Array, seed: int
    ) -> Iterator[int]:
        """Trains, and yields the number of each finished epoch."""
        chosen, device = np.flatnonzero(train_N), self.teacher.device
        text_CD = torch.from_numpy(data.text_CD).float().to(device)
        count_C = np.maximum(np.bincount(data.label_N[chosen], minlength=len(text_CD)), 1)
        weight_C = torch.from_numpy(len(chosen) / (len(count_C) * count_C)).float().to(device)
        optimizer = torch.optim.AdamW(weights, lr=self.settings.lr, weight_decay=self.settings.weight_decay)
        order = torch_generator(seed, Purpose.LORA_ORDER)
        for epoch in range(1, self.settings.epochs + 1):
            for rows_B in torch.split(torch.randperm(len(chosen), generator=order), self.settings.batch_size):
                places_B = chosen[rows_B.numpy()]
                logit_BC = data.scale * self._unit(pixel_NCHW[places_B]) @ text_CD.T
                label_B = torch.from_numpy(data.label_N[places_B]).to(device)
                loss = F.cross_entropy(logit_BC, label_B, weight=weight_C, reduction="sum") / len(places_B)
                if not torch.isfinite(loss):
                    raise TrainingError(f"LoRA: the loss is {loss.item()} in epoch {epoch}; try a lower --lora-lr")
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            yield epoch

    def _unit(self, pixel_BCHW: Array) -> Tensor:
        pixels = torch.from_numpy(pixel_BCHW).to(self.teacher.device)
        return F.normalize(self.teacher.towers.encode_image(self.teacher.transform.normalise(pixels)).float(), dim=-1)

    def _judged(
        self, data: Labelled, pixel_NCHW: Array, val_N: Array, epoch: int, first_NC: Array | None = None
    ) -> Tuned:
        """On the held-out pictures, beside first_NC, the logits of the model as it was."""
        val = data.only(val_N)
        val_NC = data.scale * self.vectors(pixel_NCHW[val_N]) @ data.text_CD.T
        before_NC = val_NC if first_NC is None else first_NC
        now_N, before_N = (logit_NC.argmax(axis=1) == val.label_N for logit_NC in (val_NC, before_NC))
        gain = gain_of(now_N, before_N, val.label_N, val.group_N, self.settings.epochs)
        return Tuned(epoch, gain, val_NC, val.label_N, val.group_N)

    def save(self, folder: Path, home: Path) -> None:
        """The model with the weights as they are now, as an open_clip folder; home: its final place."""
        model = open_clip_folder.load(self.folder)
        open_clip_folder.save(model, folder, home, self.network.state_dict())
        say(f"{METHOD}: the change is merged into the weights")


def targets(visual: nn.Module) -> list[str]:
    """Names of the layers that are changed: attention as a whole, other linear layers, convolutions without groups."""
    attention = [name for name, module in visual.named_modules() if isinstance(module, nn.MultiheadAttention)]
    inside = tuple(f"{name}." for name in attention)
    others = [
        name
        for name, module in visual.named_modules()
        if (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1))
        and not name.startswith(inside)
    ]
    return attention + others


def _initialised(wrapped: nn.Module, generator: torch.Generator) -> list[nn.Parameter]:
    """The trainable weights: A uniform in 1 / sqrt(inputs), B zero, so that nothing is changed at first."""
    weights = []
    for name, weight in wrapped.named_parameters():
        if not weight.requires_grad:
            continue
        with torch.no_grad():
            if "lora_A" in name:
                reach = weight[0].numel() ** -0.5
                weight.copy_(torch.rand(weight.shape, generator=generator) * 2 * reach - reach)
            else:
                weight.zero_()
        weights.append(weight)
    return weights
