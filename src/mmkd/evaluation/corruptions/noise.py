"""Noise of sensors and of transmission.

A picture is float32 (H, W, 3) in 0..1. What a function returns may lie outside; `corrupt` clips it.
"""

import numpy as np

from mmkd.evaluation.corruptions.scale import Picture, at_reference_size

SD = (0.04, 0.08, 0.12, 0.18, 0.26)
SPECKLE_SD = (0.10, 0.15, 0.20, 0.35, 0.45)
REPLACED = (0.01, 0.03, 0.06, 0.09, 0.17)  # share of the pixels
PHOTONS = (60, 25, 18, 10, 5)  # that a white pixel catches on average


def gaussian_noise(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """x + n with n of deviation `SD`."""
    return at_reference_size(image_HWC, lambda small: small + SD[severity - 1] * _normal(small, rng))


def speckle_noise(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """x + x n with n of deviation `SPECKLE_SD`."""
    return at_reference_size(image_HWC, lambda small: small * (1 + SPECKLE_SD[severity - 1] * _normal(small, rng)))


def impulse_noise(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """A share `REPLACED` of the pixels is black or white."""

    def struck(small_HWC: Picture) -> Picture:
        value_HWC = rng.random(_shape(small_HWC), np.float32)
        share = REPLACED[severity - 1]
        salted_HWC = np.where(value_HWC > 1 - share / 2, np.float32(1), small_HWC)
        return np.where(value_HWC < share / 2, np.float32(0), salted_HWC)

    return at_reference_size(image_HWC, struck)


def shot_noise(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """Counts of photons: Poisson with mean x times `PHOTONS`, divided by it."""

    def counted(small_HWC: Picture) -> Picture:
        channels = _shape(small_HWC)[2]
        mean_HWC = small_HWC[:, :, :channels].astype(np.float64) * PHOTONS[severity - 1]
        count_HWC = rng.poisson(mean_HWC) / PHOTONS[severity - 1]
        return np.broadcast_to(count_HWC.astype(np.float32), small_HWC.shape)

    return at_reference_size(image_HWC, counted)


def _normal(image_HWC: Picture, rng: np.random.Generator) -> Picture:
    return rng.standard_normal(_shape(image_HWC), np.float32)


def _shape(image_HWC: Picture) -> tuple[int, int, int]:
    """Of the noise: a grey picture stays grey."""
    height, width, channels = image_HWC.shape
    is_grey = bool((image_HWC == image_HWC[:, :, :1]).all())
    return height, width, 1 if is_grey else channels
