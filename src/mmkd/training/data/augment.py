"""Augmentation and normalisation of a batch of images, on the device, each image with its own parameters.

Letters: N images of the whole step over all processes, B those of this process, C channels, H x W pixels.
"""

import torch
from torch import Tensor

from mmkd.training.settings.train import AugmentSettings

SEEDS = 2**62


def normalise(image_BCHW: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 0..255 or float 0..1 -> what the student's tower expects."""
    image = image_BCHW.float() / 255 if image_BCHW.dtype == torch.uint8 else image_BCHW
    return (image - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)


def augment(
    image_BCHW: Tensor, settings: AugmentSettings, generator: torch.Generator, total: int | None = None, first: int = 0
) -> Tensor:
    """uint8 -> float 0..1, shifted, mirrored, scaled in brightness and with noise, as far as the settings say.

    generator: the same CPU generator on every process and device. It draws for all N images of the step, `total` of
    them (B with one process), and these are those from `first` on: how many processes share a step changes nothing.
    Pixel noise is drawn on the device, whose random numbers differ from another kind of device's, from a seed an image.
    """
    count, device = len(image_BCHW), image_BCHW.device
    total = count if total is None else total
    own = slice(first, first + count)
    draw_B4 = torch.rand(total, 4, generator=generator)[own].to(device, non_blocking=True)
    seed_B = torch.randint(SEEDS, (total,), generator=generator)[own]
    image = _shift(image_BCHW, draw_B4[:, 0], draw_B4[:, 1], settings.shift).float().div_(255)
    if settings.flip:
        image = torch.where((draw_B4[:, 3] < 0.5).view(-1, 1, 1, 1), image.flip(3), image)
    if settings.gain:
        image = image * (1 + settings.gain * (2 * draw_B4[:, 2] - 1)).view(-1, 1, 1, 1)
    if settings.noise:
        image = image.add_(_noise(image, seed_B), alpha=settings.noise)
    return image


def _noise(image_BCHW: Tensor, seed_B: Tensor) -> Tensor:
    """Standard normal numbers like the images, each image's from its own seed."""
    noise = torch.empty(image_BCHW.shape, device=image_BCHW.device)
    generator = torch.Generator(image_BCHW.device)
    for row, seed in enumerate(seed_B.tolist()):
        noise[row].normal_(generator=generator.manual_seed(seed))
    return noise


def _shift(image_BCHW: Tensor, down_B: Tensor, right_B: Tensor, share: float) -> Tensor:
    """Move each image by up to `share` of its side; the border is repeated into the space left free."""
    if not share:
        return image_BCHW
    count, _, height, width = image_BCHW.shape
    row_BH = _moved(down_B, height, share)
    column_BW = _moved(right_B, width, share)
    batch = torch.arange(count, device=image_BCHW.device).view(-1, 1, 1)
    return image_BCHW[batch, :, row_BH[:, :, None], column_BW[:, None, :]].permute(0, 3, 1, 2)


def _moved(draw_B: Tensor, side: int, share: float) -> Tensor:
    offset_B = ((2 * draw_B - 1) * share * side).round().long()
    return (torch.arange(side, device=draw_B.device)[None, :] + offset_B[:, None]).clamp(0, side - 1)
