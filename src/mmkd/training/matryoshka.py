"""Losses of the first dimensions of the student's vectors beside those of all (Matryoshka, arXiv 2205.13147)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd.errors import ConfigError
from mmkd.training.data.view import Embedded, View


def matryoshka_losses(
    objective: Callable[[View], Mapping[str, Tensor]],
    view: View,
    dims: Sequence[int],
    draws: Callable[[], torch.Generator],
) -> dict[str, Tensor]:
    """The objective's losses by name, the mean over the whole vectors and their first `dims` dimensions.

    A loss that the objective leaves out of views of first dimensions stands as it is.
    draws: makes the generator of the step, so that what an objective draws is the same for all of them.
    """
    found = dict(objective(view))
    times = dict.fromkeys(found, 1)
    for dim in dims:
        part = replace(view, own=_first(view.own, dim), keys=_first(view.keys, dim), generator=draws(), whole=False)
        for name, loss in objective(part).items():
            found[name] = found[name] + loss
            times[name] += 1
    return {name: loss / times[name] for name, loss in found.items()}


def _first(embedded: Embedded, dim: int) -> Embedded:
    image_BD, text_BD = (F.normalize(side[:, :dim], dim=1) for side in (embedded.image_BD, embedded.text_BD))
    return Embedded(image_BD, text_BD, embedded.scale)


def check_matryoshka(dims: Sequence[int], dim: int) -> None:
    """Raise ConfigError unless each of `dims` is fewer dimensions than the student's `dim`."""
    if wide := [one for one in dims if one >= dim]:
        raise ConfigError(
            f"matryoshka: {', '.join(map(str, wide))}, but the student's vectors have {dim} dimensions; name "
            "smaller numbers"
        )
