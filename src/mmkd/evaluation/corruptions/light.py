"""Brightness, contrast, gamma and colour: x is a pixel's value, 0..1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmkd.evaluation.corruptions.scale import Picture

BRIGHTER = (1.1, 1.2, 1.3, 1.4, 1.5)
DARKER = (0.9, 0.8, 0.7, 0.6, 0.5)
MORE_CONTRAST = (1.1, 1.2, 1.3, 1.4, 1.6)
LESS_CONTRAST = (0.8, 0.7, 0.6, 0.5, 0.4)
GAMMA_UP = (1.1, 1.2, 1.3, 1.4, 1.6)
GAMMA_DOWN = (0.9, 0.8, 0.7, 0.6, 0.4)
SATURATION = (0.05, 0.10, 0.15, 0.20, 0.25)  # that is added
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def brightness_up(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """x times `BRIGHTER`."""
    return image_HWC * np.float32(BRIGHTER[severity - 1])


def brightness_down(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """x times `DARKER`."""
    return image_HWC * np.float32(DARKER[severity - 1])


def contrast_up(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """Distances from the mean grey times `MORE_CONTRAST`."""
    return _stretched(image_HWC, MORE_CONTRAST[severity - 1])


def contrast_down(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """Distances from the mean grey times `LESS_CONTRAST`."""
    return _stretched(image_HWC, LESS_CONTRAST[severity - 1])


def _stretched(image_HWC: Picture, factor: float) -> Picture:
    mean = np.float32((image_HWC @ LUMA).mean(dtype=np.float64))
    return np.asarray(mean + np.float32(factor) * (image_HWC - mean), np.float32)


def gamma_up(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """x to the power of `GAMMA_UP`: darker."""
    return image_HWC ** np.float32(GAMMA_UP[severity - 1])


def gamma_down(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """x to the power of `GAMMA_DOWN`: lighter."""
    return image_HWC ** np.float32(GAMMA_DOWN[severity - 1])


def saturate(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """`SATURATION` more of HSV, hue and value as they are; grey stays grey, for it has no hue."""
    top_HW1 = image_HWC.max(axis=2, keepdims=True)
    below_HWC = top_HW1 - image_HWC  # S = max(below) / top, and below grows in proportion to S
    widest_HW1 = below_HWC.max(axis=2, keepdims=True)
    has_hue: NDArray[Any] = widest_HW1 > 0
    now_HW1 = widest_HW1 / np.where(top_HW1 > 0, top_HW1, 1)
    wanted_HW1 = np.minimum(1, now_HW1 + np.float32(SATURATION[severity - 1]))
    factor_HW1 = np.where(has_hue, wanted_HW1 / np.where(has_hue, now_HW1, 1), 1)
    return np.asarray(top_HW1 - factor_HW1 * below_HWC, np.float32)
