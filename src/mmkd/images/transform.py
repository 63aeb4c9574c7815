"""How a model wants its images: a geometry, done in PIL on worker processes, and a normalisation, done on the device.

Split in two, images travel as bytes (a quarter of float32), and models that differ in mean and deviation only share
one resized image. Letters: B images, C channels, H x W pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from open_clip.transform import MaybeToTensor, PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor
from torchvision.transforms import Compose, Normalize, ToTensor
from torchvision.transforms.functional import pil_to_tensor

Geometry = Callable[[Image.Image], Image.Image]
PICTURE = (400, 300)  # width and height of a picture wide enough to tell a crop from a squeeze


@dataclass(frozen=True)
class ImageTransform:
    """geometry: resizes and crops an image to the model's size, RGB; picklable, and prints with all its parameters.

    mean, std: per channel, of pixel values in 0..1.
    """

    geometry: Geometry
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def pixels(self, image: Image.Image) -> Tensor:
        """The image at the model's size, uint8 (C, H, W)."""
        return cast(Tensor, pil_to_tensor(self.geometry(image)))

    def normalise(self, image_BCHW: Tensor) -> Tensor:
        """uint8 pixels -> float32 as the model wants them, on the device they are on; bit-equal to torchvision's."""
        mean, std = (torch.tensor(v, device=image_BCHW.device).view(-1, 1, 1) for v in (self.mean, self.std))
        return image_BCHW.float().div(255).sub(mean).div(std)

    def __call__(self, image: Image.Image) -> Tensor:
        """Both steps for one image: float32 (C, H, W)."""
        return self.normalise(self.pixels(image))


def seen_part(transform: ImageTransform) -> tuple[float, float, float, float]:
    """Which part of a wide picture a model sees: left, top, right, bottom, as shares of its sides.

    What is padded has the share 0. Models that see the same part have the same things in the same places.
    """
    ramp = np.zeros((PICTURE[1], PICTURE[0], 3), dtype=np.uint8)
    ramp[..., 0] = np.linspace(0, 255, PICTURE[0]).round()
    ramp[..., 1] = np.linspace(0, 255, PICTURE[1]).round()[:, None]
    pixel_CHW = transform.pixels(Image.fromarray(ramp)).double() / 255
    across, down = pixel_CHW[0, pixel_CHW.shape[1] // 2], pixel_CHW[1, :, pixel_CHW.shape[2] // 2]
    left, top, right, bottom = (round(float(one), 3) for one in (across[0], down[0], across[-1], down[-1]))
    return left, top, right, bottom


def from_preprocess(preprocess: Mapping[str, Any]) -> ImageTransform:
    """From open_clip's `preprocess_cfg`: size, mean, std, interpolation, resize_mode, fill_color.

    Raises ValueError for keys that open_clip does not know.
    """
    try:
        return from_compose(image_transform_v2(PreprocessCfg(**preprocess), is_train=False))
    except (TypeError, AssertionError) as error:
        raise ValueError(f"not a preprocess_cfg of open_clip: {dict(preprocess)} ({error})") from error


def from_compose(compose: Compose) -> ImageTransform:
    """From a torchvision pipeline of PIL steps, ToTensor and Normalize, in this order, as open_clip makes them.

    Raises ValueError for another order.
    """
    geometry, last = compose.transforms[:-2], compose.transforms[-2:]
    if len(last) < 2 or not isinstance(last[0], ToTensor | MaybeToTensor) or not isinstance(last[1], Normalize):
        raise ValueError(f"expected a transform that ends in ToTensor and Normalize, found {compose}")
    normalise = last[1]
    return ImageTransform(_Geometry(geometry), tuple(normalise.mean), tuple(normalise.std))


class _Geometry(Compose):  # type: ignore[misc]  # torchvision is untyped
    """PIL steps that print with all their parameters, which open_clip's own do not (CenterCropOrPad hides its fill)."""

    def __repr__(self) -> str:
        return "; ".join(f"{type(step).__name__} {_settings(step)}" for step in self.transforms)


def _settings(step: object) -> dict[str, object]:
    return {
        name: tuple(value) if isinstance(value, list) else value  # sizes from JSON are lists
        for name, value in sorted(vars(step).items())
        if not name.startswith("_") and name != "training"
    }
