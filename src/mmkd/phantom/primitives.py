"""Shapes and textures on a small canvas, from which the modalities are drawn.

Coordinates run from -1 (left, top) to 1 (right, bottom) whatever the size in pixels. Masks lie in 0..1.
H, W: rows and columns of the canvas. K: number of spots.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Canvas:
    """Where one image is drawn: its size, its source of randomness, and its patient's `anatomy` (values in -1..1)."""

    size: int
    rng: np.random.Generator
    anatomy: Array

    @property
    def x(self) -> Array:
        """Horizontal coordinates, shape (1, W)."""
        return _axis(self.size)[None, :]

    @property
    def y(self) -> Array:
        """Vertical coordinates, shape (H, 1)."""
        return _axis(self.size)[:, None]

    def between(self, low: float, high: float) -> float:
        """A uniform draw of this image."""
        return low + (high - low) * float(self.rng.random())

    def sign(self) -> int:
        """-1 or 1, equally likely."""
        return 1 if self.rng.random() < 0.5 else -1

    def trait(self, index: int, centre: float, spread: float) -> float:
        """A property of the patient (three quarters of the spread) that varies a little from image to image."""
        return centre + spread * (0.75 * float(self.anatomy[index]) + 0.25 * self.between(-1, 1))

    def flat(self, value: float) -> Array:
        """A grey image of one value."""
        return np.full((self.size, self.size), value, np.float32)

    def wash(self, colour: Colour) -> Array:
        """A colour image of one colour, shape (H, W, 3)."""
        return np.full((self.size, self.size, 3), colour, np.float32)


@lru_cache(maxsize=8)
def _axis(size: int) -> Array:
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    axis.setflags(write=False)
    return axis


@lru_cache(maxsize=32)
def _interpolation(size: int, cells: int) -> Array:
    """Weights (size, cells) that stretch `cells` knots linearly over the axis."""
    position = np.linspace(0, cells - 1, size, dtype=np.float32)[:, None]
    weights: Array = np.clip(1 - np.abs(position - np.arange(cells, dtype=np.float32)), 0, 1)
    weights.setflags(write=False)
    return weights


def ellipse(canvas: Canvas, cx: float, cy: float, rx: float, ry: float | None = None, edge: float = 8) -> Array:
    """A filled ellipse; a larger `edge` makes its border sharper. The radius is where the mask passes a half."""
    distance = ((canvas.x - cx) / rx) ** 2 + ((canvas.y - cy) / (ry or rx)) ** 2
    return np.asarray((0.5 - 0.5 * np.tanh(edge / 2 * (distance - 1))).astype(np.float32))


def ring(canvas: Canvas, cx: float, cy: float, radius: float, width: float, edge: float = 10) -> Array:
    """A circular band of the given width inside `radius`."""
    return ellipse(canvas, cx, cy, radius, edge=edge) - ellipse(canvas, cx, cy, radius - width, edge=edge)


def spots(canvas: Canvas, x_K: ArrayLike, y_K: ArrayLike, radius_K: ArrayLike) -> Array:
    """Soft round spots, cut off at 1 where they overlap. Any number of them costs one matrix product."""
    x, y, radius = (np.asarray(v, np.float32).reshape(-1, 1) for v in (x_K, y_K, radius_K))
    across = np.exp(-(((canvas.x - x) / radius) ** 2))
    down = np.exp(-(((canvas.y.T - y) / radius) ** 2))
    return np.asarray(np.minimum(down.T @ across, 1).astype(np.float32))


def scatter(
    canvas: Canvas, count: int, radius: tuple[float, float], spread: float = 1, cx: float = 0, cy: float = 0
) -> Array:
    """`count` spots at random places within `spread` of a centre, with radii between the two given."""
    place = canvas.rng.random((3, count), dtype=np.float32)
    low, high = radius
    x, y = cx + spread * (2 * place[0] - 1), cy + spread * (2 * place[1] - 1)
    return spots(canvas, x, y, low + (high - low) * place[2])


def streak(canvas: Canvas, cx: float, cy: float, angle: float, length: float, width: float) -> Array:
    """A soft straight line of the given half length and half width; `angle` in radians, 0 is horizontal."""
    cos, sin = math.cos(angle), math.sin(angle)
    along = ((canvas.x - cx) * cos + (canvas.y - cy) * sin) / length
    across = ((canvas.y - cy) * cos - (canvas.x - cx) * sin) / width
    return np.asarray(np.exp(-(along**4) - across**2))


def stripe(canvas: Canvas, height_1W: Array | float, width: float) -> Array:
    """A band from left to right whose middle follows `height_1W`."""
    mask: Array = np.exp(-(((canvas.y - height_1W) / width) ** 2)).astype(np.float32)
    return np.broadcast_to(mask, (canvas.size, canvas.size))


def texture(canvas: Canvas, cells: int) -> Array:
    """A smooth random field with about `cells` patches a side, mean 0 and unit variance at the knots."""
    weights = _interpolation(canvas.size, cells)
    knots: Array = canvas.rng.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray((weights @ knots @ weights.T).astype(np.float32))


def speckle(canvas: Canvas, strength: float) -> Array:
    """Multiplicative grain around 1, as of coherent imaging."""
    return np.asarray(1 + strength * canvas.rng.standard_normal((canvas.size, canvas.size), dtype=np.float32))


def paint(image: Array, mask: Array, colour: Colour, strength: float = 1) -> Array:
    """The colour image with `colour` laid over it where the mask says so."""
    alpha = np.clip(strength * mask, 0, 1)[:, :, None]
    return np.asarray((image + alpha * (np.asarray(colour, np.float32) - image)).astype(np.float32))


def grey(image_HW: Array) -> Array:
    """The same values in three channels."""
    return np.repeat(image_HW[:, :, None], 3, axis=2)
