"""Blur by optics and by motion. Lengths are in pixels of the reference size."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from mmkd.evaluation.corruptions.scale import Picture, lengths, to_image, to_picture

SIGMA = (1.0, 1.5, 2.0, 2.5, 3.5)
RADIUS = (3.0, 4.0, 5.0, 6.0, 7.0)  # of the disk that a point becomes
TRACK = (7.0, 11.0, 15.0, 21.0, 27.0)  # length of the line that a point becomes
STEEPEST = np.pi / 4  # of the line, up or down
ZOOM = (1.10, 1.15, 1.20, 1.25, 1.30)
STEPS = 9  # pictures of which zoom_blur is the mean


def gaussian_blur(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """With deviation `SIGMA`."""
    sigma = SIGMA[severity - 1] * lengths(image_HWC)
    return np.asarray(gaussian_filter(image_HWC, (sigma, sigma, 0), mode="nearest"), np.float32)


def defocus_blur(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """A point becomes a disk of `RADIUS`."""
    radius = RADIUS[severity - 1] * lengths(image_HWC)
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return _convolved(image_HWC, np.clip(radius + 0.5 - np.hypot(x, y), 0, 1))


def motion_blur(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """A point becomes a line of length `TRACK` in a direction of its own."""
    angle, half = rng.uniform(-STEEPEST, STEEPEST), TRACK[severity - 1] * lengths(image_HWC) / 2
    reach = int(np.ceil(half))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, beside = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return _convolved(image_HWC, np.clip(1 - np.abs(beside), 0, 1) * np.clip(half + 0.5 - np.abs(along), 0, 1))


def zoom_blur(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """The mean of the picture at magnifications from 1 to `ZOOM`."""
    image = to_image(image_HWC)
    zoomed = []
    for factor in np.linspace(1, ZOOM[severity - 1], STEPS):
        left, top = image.width * (1 - 1 / factor) / 2, image.height * (1 - 1 / factor) / 2
        box = (left, top, image.width - left, image.height - top)
        zoomed.append(to_picture(image.resize(image.size, Image.Resampling.BILINEAR, box)))
    return np.asarray(np.mean(zoomed, axis=0), np.float32)


def _convolved(image_HWC: Picture, weight_KK: NDArray[np.float64]) -> Picture:
    """weight_KK: of an odd side; divided by its sum. The border is repeated."""
    reach = weight_KK.shape[0] // 2
    padded_HWC = np.pad(image_HWC, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    kernel_KK1 = (weight_KK / weight_KK.sum())[:, :, None]
    return np.asarray(fftconvolve(padded_HWC, kernel_KK1, mode="valid", axes=(0, 1)), np.float32)
