"""What lies on the glass, on the skin or over the picture. Sizes are shares of the picture's short side."""

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from mmkd.evaluation.corruptions.scale import Picture, to_image, to_picture

DEPOSITS = (1, 2, 3, 4, 5)
DEPOSIT_RADIUS = (0.03, 0.09)
INK = np.array([0.25, 0.10, 0.35], np.float32)  # precipitate of haematoxylin: dark violet
BUBBLES = (1, 2, 3, 4, 6)
BUBBLE_RADIUS = (0.06, 0.16)
RIM = 0.15  # of a bubble's radius: a dark ring, for its edge bends the light away
CORNER = (1.25, 1.15, 1.08, 1.00, 0.92)  # radius of the picture that a dermatoscope's tube leaves, in half short sides
STRINGS = (1, 2, 3, 4, 6)
LETTER = 0.09  # height
SIGNS = "ABCDEFGHKLMNPRSTUVWXYZ0123456789"


def stain_deposit(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """`DEPOSITS` dark violet spots of irregular outline."""
    cover_HW1 = np.zeros((*image_HWC.shape[:2], 1), np.float32)
    for _ in range(DEPOSITS[severity - 1]):
        away_HW, angle_HW, radius = _around_a_place(image_HWC, DEPOSIT_RADIUS, rng)
        waves, turns = rng.uniform(0.05, 0.2, 4), rng.uniform(0, 2 * np.pi, 4)
        outline_HW = radius * (
            1 + sum(w * np.sin((k + 2) * angle_HW + t) for k, (w, t) in enumerate(zip(waves, turns, strict=True)))
        )
        inside_HW = np.clip((outline_HW - away_HW) / (0.15 * radius) + 0.5, 0, 1)
        cover_HW1[:, :, 0] = np.maximum(cover_HW1[:, :, 0], 0.9 * inside_HW)
    return np.asarray((1 - cover_HW1) * image_HWC + cover_HW1 * INK, np.float32)


def bubble(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """`BUBBLES` of air below the glass: out of focus and paler inside, with a dark rim."""
    found_HWC, side = image_HWC, min(image_HWC.shape[:2])
    sigma = 0.015 * side
    blurred_HWC = np.asarray(gaussian_filter(image_HWC, (sigma, sigma, 0), mode="nearest"), np.float32)
    for _ in range(BUBBLES[severity - 1]):
        away_HW, _, radius = _around_a_place(image_HWC, BUBBLE_RADIUS, rng)
        inside_HW1 = np.clip((radius - away_HW) / (0.05 * radius) + 0.5, 0, 1)[:, :, None].astype(np.float32)
        rim_HW1 = np.exp(-(((away_HW - radius) / (RIM * radius)) ** 2))[:, :, None].astype(np.float32)
        within_HWC = 0.75 * blurred_HWC + np.float32(0.25)
        found_HWC = ((1 - inside_HW1) * found_HWC + inside_HW1 * within_HWC) * (1 - 0.6 * rim_HW1)
    return np.asarray(found_HWC, np.float32)


def black_corner(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """Black outside a circle around the middle of radius `CORNER`."""
    height, width = image_HWC.shape[:2]
    y, x = np.mgrid[:height, :width]
    away_HW = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) / (min(height, width) / 2)
    kept_HW1 = np.clip((CORNER[severity - 1] - away_HW) / 0.03 + 0.5, 0, 1)[:, :, None]
    return np.asarray(image_HWC * kept_HW1, np.float32)


def characters(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """`STRINGS` of letters and digits, black or white, as devices and annotators write them."""
    image = to_image(image_HWC)
    pen, side = ImageDraw.Draw(image), min(image.size)
    font = ImageFont.load_default(max(6.0, LETTER * side))
    for _ in range(STRINGS[severity - 1]):
        text = "".join(rng.choice(list(SIGNS), rng.integers(3, 8)))
        left, top, right, bottom = pen.textbbox((0, 0), text, font)
        place = [rng.uniform(0, max(1.0, room)) for room in (image.width - right + left, image.height - bottom + top)]
        pen.text((place[0] - left, place[1] - top), text, (255,) * 3 if rng.random() < 0.5 else (0,) * 3, font)
    return to_picture(image)


def _around_a_place(
    image_HWC: Picture, radii: tuple[float, float], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Distance and direction of every pixel from a place in the picture, and a radius there; in pixels."""
    height, width = image_HWC.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y - rng.uniform(0, height), x - rng.uniform(0, width)
    return np.hypot(x, y), np.arctan2(y, x), float(rng.uniform(*radii) * min(height, width))
