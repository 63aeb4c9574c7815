"""Histopathology fields and retinal OCT scans. One function a finding; each draws a whole image."""

import math

import numpy as np

from mmkd.phantom.primitives import (
    Array,
    Canvas,
    Colour,
    ellipse,
    grey,
    paint,
    scatter,
    speckle,
    spots,
    stripe,
    texture,
)

NUCLEUS: Colour = (0.3, 0.18, 0.5)

# Histopathology, stained with haematoxylin and eosin


def _stroma(canvas: Canvas) -> Array:
    """Pink fibres running across the field, in the patient's staining."""
    image = canvas.wash((canvas.trait(0, 0.9, 0.04), canvas.trait(1, 0.68, 0.07), canvas.trait(2, 0.8, 0.05)))
    angle, pitch = canvas.between(0, math.pi), canvas.trait(3, 12, 3)
    along = canvas.x * math.cos(angle) + canvas.y * math.sin(angle)
    wave = np.sin(pitch * along + 1.2 * texture(canvas, 4))
    return paint(image, 0.5 + 0.5 * wave.astype(np.float32), (0.82, 0.46, 0.64), 0.4)


def normal_stroma(canvas: Canvas) -> Array:
    return paint(_stroma(canvas), scatter(canvas, int(canvas.rng.integers(2, 7)), (0.06, 0.09)), NUCLEUS, 0.85)


def lymphocytic_infiltrate(canvas: Canvas) -> Array:
    return paint(_stroma(canvas), scatter(canvas, int(canvas.rng.integers(28, 44)), (0.06, 0.09)), NUCLEUS, 0.95)


def pleomorphic_tumour(canvas: Canvas) -> Array:
    count = int(canvas.rng.integers(4, 8))
    x, y = canvas.rng.uniform(-0.95, 0.95, (2, count))
    radius = canvas.rng.uniform(0.2, 0.32, count)
    image = paint(_stroma(canvas), spots(canvas, x, y, radius), NUCLEUS, 0.85)
    return paint(image, spots(canvas, x, y, 0.3 * radius), (0.12, 0.04, 0.28), 0.9)


def gland_formation(canvas: Canvas) -> Array:
    image, turn = _stroma(canvas), canvas.between(0, 2 * math.pi)
    for corner in range(int(canvas.rng.integers(2, 4))):
        angle, radius = turn + 2.1 * corner, canvas.between(0.26, 0.38)
        x, y = 0.52 * math.cos(angle), 0.52 * math.sin(angle)
        image = paint(image, ellipse(canvas, x, y, radius), NUCLEUS, 0.85)
        image = paint(image, ellipse(canvas, x, y, radius * 0.6), (0.97, 0.94, 0.96))
    return image


# OCT: bright and dark layers of the retina from left to right, the fovea a shallow dip


def _retina_layers(canvas: Canvas, bumps: Array | float = 0.0, lift: Array | float = 0.0) -> Array:
    """`bumps` raise the deepest layer, `lift` moves the inner layers up; both by column, shape (1, W)."""
    tilt, bow = canvas.trait(0, 0, 0.12) + canvas.between(-0.06, 0.06), canvas.trait(1, 0.05, 0.08)
    middle = canvas.trait(2, 0, 0.15)
    shape: Array = (tilt + bow * canvas.x) * canvas.x + np.float32(canvas.between(-0.12, 0.12))
    dip: Array = canvas.trait(3, 0.15, 0.04) * np.exp(-(((canvas.x - middle) / 0.22) ** 2)).astype(np.float32)
    inner: Array = shape + dip - lift
    deep: Array = shape - bumps + np.float32(0.27)
    image = canvas.flat(0.07) + 0.55 * stripe(canvas, inner - 0.42, 0.08) + 0.3 * stripe(canvas, inner - 0.2, 0.07)
    image = image + 0.38 * stripe(canvas, inner - 0.6 * dip, 0.06)
    return np.asarray(image + 0.8 * stripe(canvas, deep, 0.07) + 0.3 * stripe(canvas, shape + 0.52, 0.2))


def _scan(canvas: Canvas, image: Array) -> Array:
    return grey((image * speckle(canvas, canvas.between(0.14, 0.24))).astype(np.float32))


def normal_layers(canvas: Canvas) -> Array:
    return _scan(canvas, _retina_layers(canvas))


def macular_oedema(canvas: Canvas) -> Array:
    x, lift = canvas.between(-0.3, 0.3), canvas.between(0.05, 0.15)
    image = _retina_layers(canvas, lift=lift * np.exp(-(((canvas.x - x) / 0.5) ** 2)))
    cysts = scatter(canvas, 4, (0.12, 0.18), 0.2, x, -0.12)
    return _scan(canvas, image * (1 - 0.95 * cysts))


def drusen(canvas: Canvas) -> Array:
    places, heights = canvas.rng.uniform(-0.75, 0.75, 5), canvas.rng.uniform(0.12, 0.22, 5)
    bumps = (heights[:, None] * np.exp(-(((canvas.x - places[:, None]) / 0.11) ** 2))).max(0)[None, :]
    return _scan(canvas, _retina_layers(canvas, bumps=bumps.astype(np.float32)))


def macular_hole(canvas: Canvas) -> Array:
    x, half_width = canvas.between(-0.3, 0.3), canvas.between(0.13, 0.24)
    gap = 0.5 - 0.5 * np.tanh(14 * (np.abs(canvas.x - x) - half_width))
    above = 0.5 - 0.5 * np.tanh(12 * (canvas.y - 0.16))
    return _scan(canvas, _retina_layers(canvas) * (1 - 0.92 * gap * above))
