"""open_clip's image transform for inference in Pillow and numpy alone: a model in ONNX Runtime needs no PyTorch.

Equal to `open_clip.transform.image_transform_v2(..., is_train=False)`, bit by bit. Sizes are (height, width).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from mmkd.statistics.metrics import Array

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
Size = tuple[int, int]


class Geometry:
    """A picture at a model's size. preprocess: open_clip's `preprocess_cfg`, with all its keys.

    Raises ValueError for a key's value that open_clip does not know.
    """

    def __init__(self, preprocess: Mapping[str, Any]) -> None:
        size = preprocess["size"]
        self.size: Size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self.mode = preprocess.get("resize_mode") or "shortest"
        self.fill = int(preprocess.get("fill_color") or 0)
        interpolation = preprocess.get("interpolation") or "bicubic"
        if interpolation not in RESAMPLING or self.mode not in ("shortest", "longest", "squash"):
            raise ValueError(f"resize_mode {self.mode!r}, interpolation {interpolation!r}: not known to open_clip")
        self.resampling = RESAMPLING[interpolation]
        self.mean, self.std = (np.array(preprocess[key], np.float32)[:, None, None] for key in ("mean", "std"))

    def pixels(self, image: Image.Image) -> np.ndarray:
        """uint8 (C, H, W)."""
        height, width = self._resized(image.height, image.width)
        if (width, height) != image.size:
            image = image.resize((width, height), self.resampling)
        return np.asarray(self._cropped(image.convert("RGB"))).transpose(2, 0, 1)

    def normalised(self, image_BCHW: np.ndarray) -> Array:
        """uint8 pixels -> float32 as the model wants them."""
        return (image_BCHW.astype(np.float32) / np.float32(255) - self.mean) / self.std

    def _resized(self, height: int, width: int) -> Size:
        if self.mode == "squash":
            return self.size
        if self.mode == "shortest" and self.size[0] == self.size[1]:  # torchvision's rule, which cuts fractions off
            short, long = sorted((height, width))
            longest = int(self.size[0] * long / short)
            return (longest, self.size[0]) if height > width else (self.size[0], longest)
        ratios = (height / self.size[0], width / self.size[1])
        ratio = max(ratios) if self.mode == "longest" else min(ratios)
        return round(height / ratio), round(width / ratio)

    def _cropped(self, image: Image.Image) -> Image.Image:
        """The middle; what lacks is filled."""
        height, width = self.size
        if image.width < width or image.height < height:
            whole = Image.new("RGB", (max(image.width, width), max(image.height, height)), (self.fill,) * 3)
            whole.paste(image, (max(0, width - image.width) // 2, max(0, height - image.height) // 2))
            image = whole
        top, left = round((image.height - height) / 2), round((image.width - width) / 2)
        return image if image.size == (width, height) else image.crop((left, top, left + width, top + height))
