"""Fundus, endoscopy and dermatology photographs. One function a finding; each draws a whole image."""

import math

import numpy as np

from mmkd.phantom.primitives import Array, Canvas, ellipse, paint, ring, scatter, streak, texture

# Fundus: an orange disc with the bright optic disc on one side and vessels leaving it


def retina(canvas: Canvas, cup: float = 0.4, **marks: Array) -> Array:
    red, green = canvas.trait(0, 0.72, 0.08), canvas.trait(1, 0.34, 0.06)
    image = paint(canvas.wash((0.03, 0.03, 0.03)), ellipse(canvas, 0, 0, 0.96, edge=22), (red, green, 0.12))
    side, disc_y = 1 if canvas.anatomy[2] > 0 else -1, canvas.trait(3, 0, 0.12)
    disc_x, radius = side * canvas.trait(4, 0.5, 0.05), canvas.trait(5, 0.23, 0.02)
    image = paint(image, ellipse(canvas, -0.25 * side, disc_y, 0.2, edge=2), (0.45, 0.18, 0.08), 0.6)
    image = paint(image, ellipse(canvas, disc_x, disc_y, radius, radius * 1.1), (0.95, 0.68, 0.34))
    image = paint(image, ellipse(canvas, disc_x, disc_y, radius * cup), (1, 0.98, 0.8))
    for up in (-1, 1):
        slope = up * canvas.between(0.5, 0.9)
        vessel = streak(canvas, disc_x - side * 0.3, disc_y + up * 0.35, -side * slope, 0.55, 0.035)
        image = paint(image, vessel, (0.42, 0.1, 0.07), 0.8)
    image = paint(image, marks.get("dark", canvas.flat(0)), (0.28, 0.02, 0.02), 0.9)
    return paint(image, marks.get("bright", canvas.flat(0)), (0.98, 0.92, 0.5), 0.95)


def retinal_haemorrhages(canvas: Canvas) -> Array:
    return retina(canvas, dark=scatter(canvas, int(canvas.rng.integers(5, 10)), (0.09, 0.14), 0.62))


def hard_exudates(canvas: Canvas) -> Array:
    centre = canvas.between(-0.3, 0.3), canvas.between(-0.3, 0.3)
    return retina(canvas, bright=scatter(canvas, int(canvas.rng.integers(8, 15)), (0.05, 0.08), 0.48, *centre))


def glaucomatous_cup(canvas: Canvas) -> Array:
    return retina(canvas, cup=canvas.between(0.78, 0.92))


# Endoscopy: a tube of pink mucosa, dark lumen, ring-like folds, wet highlights


def mucosa(canvas: Canvas) -> Array:
    cx, cy = canvas.trait(0, 0, 0.2) + canvas.between(-0.1, 0.1), canvas.trait(1, 0, 0.2)
    depth = np.sqrt((canvas.x - cx) ** 2 + (canvas.y - cy) ** 2)
    folds = 0.05 * np.sin(canvas.trait(2, 10, 2) * depth + canvas.between(0, 6.3))
    light = np.clip(0.3 + 0.85 * depth**0.7, 0, 1) + folds + 0.04 * texture(canvas, 6)
    colour = np.asarray((canvas.trait(3, 0.88, 0.06), canvas.trait(4, 0.48, 0.06), 0.42), np.float32)
    image = (light[:, :, None] * colour).astype(np.float32)
    return paint(image, scatter(canvas, 3, (0.03, 0.05), 0.9), (1, 0.95, 0.93), 0.5)


def _wall(canvas: Canvas) -> tuple[float, float]:
    turn, reach = canvas.between(0, 2 * math.pi), canvas.between(0.3, 0.58)
    return reach * math.cos(turn), reach * math.sin(turn)


def polyp(canvas: Canvas) -> Array:
    (x, y), radius = _wall(canvas), canvas.between(0.28, 0.4)
    image = paint(mucosa(canvas), ellipse(canvas, x + 0.06, y + 0.08, radius * 1.12), (0.34, 0.1, 0.08), 0.9)
    image = paint(image, ellipse(canvas, x, y, radius), (0.98, 0.68, 0.6))
    return paint(image, ellipse(canvas, x - radius / 3, y - radius / 3, 0.1), (1, 0.93, 0.9), 0.9)


def ulcer(canvas: Canvas) -> Array:
    (x, y), radius = _wall(canvas), canvas.between(0.24, 0.36)
    image = paint(mucosa(canvas), ellipse(canvas, x, y, radius * 1.35, radius * 1.25, 3), (0.72, 0.16, 0.14), 0.7)
    image = paint(image, ellipse(canvas, x, y, radius, radius * canvas.between(0.65, 1)), (0.86, 0.8, 0.58), 0.95)
    return paint(image, scatter(canvas, 3, (0.05, 0.08), 0.15, x, y), (0.5, 0.36, 0.2), 0.7)


def active_bleeding(canvas: Canvas) -> Array:
    (x, y), image = _wall(canvas), mucosa(canvas)
    for _ in range(2):
        run = streak(canvas, x, y, canvas.between(0, math.pi), canvas.between(0.35, 0.6), canvas.between(0.08, 0.13))
        image = paint(image, run, (0.45, 0.01, 0.02), 0.95)
    return paint(image, scatter(canvas, 5, (0.1, 0.17), 0.3, x, y), (0.5, 0.02, 0.03), 0.9)


# Dermatology: skin of any tone, hairs in the way


def _skin(canvas: Canvas) -> tuple[Array, float]:
    """Bare skin and its tone, from 0 (dark) to 1 (fair)."""
    tone = 0.5 + 0.5 * canvas.trait(0, 0, 1)
    image = canvas.wash((0.5 + 0.38 * tone, 0.33 + 0.36 * tone, 0.24 + 0.36 * tone))
    return image + 0.025 * texture(canvas, 9)[:, :, None], tone


def _hairs(canvas: Canvas, image: Array) -> Array:
    for _ in range(int(canvas.rng.integers(0, 4))):
        place = canvas.between(-0.8, 0.8), canvas.between(-0.8, 0.8)
        hair = streak(canvas, *place, canvas.between(0, math.pi), canvas.between(0.4, 0.9), 0.03)
        image = paint(image, hair, (0.15, 0.1, 0.08), 0.7)
    return image


def _middle(canvas: Canvas) -> tuple[float, float]:
    return canvas.between(-0.3, 0.3), canvas.between(-0.3, 0.3)


def benign_naevus(canvas: Canvas) -> Array:
    (image, tone), (x, y), radius = _skin(canvas), _middle(canvas), canvas.between(0.2, 0.34)
    mole = ellipse(canvas, x, y, radius, radius * canvas.between(0.85, 1.15), 6)
    return _hairs(canvas, paint(image, mole, (0.2 + 0.25 * tone, 0.11 + 0.15 * tone, 0.07 + 0.1 * tone), 0.9))


def melanoma(canvas: Canvas) -> Array:
    (image, tone), (x, y) = _skin(canvas), _middle(canvas)
    image = paint(
        image, scatter(canvas, 7, (0.2, 0.34), 0.34, x, y), (0.24 + 0.16 * tone, 0.14 + 0.08 * tone, 0.1), 0.95
    )
    image = paint(image, scatter(canvas, 4, (0.1, 0.18), 0.34, x, y), (0.06, 0.05, 0.09), 0.95)
    return _hairs(canvas, paint(image, scatter(canvas, 3, (0.07, 0.12), 0.3, x, y), (0.42, 0.45, 0.58), 0.8))


def psoriatic_plaque(canvas: Canvas) -> Array:
    (image, tone), (x, y) = _skin(canvas), _middle(canvas)
    plaque = ellipse(canvas, x, y, canvas.between(0.42, 0.62), canvas.between(0.38, 0.55), 5)
    image = paint(image, plaque, (0.58 + 0.2 * tone, 0.22 + 0.1 * tone, 0.24 + 0.08 * tone), 0.85)
    scales = scatter(canvas, 14, (0.06, 0.1), 0.42, x, y) * plaque
    return _hairs(canvas, paint(image, scales, (0.94, 0.92, 0.9), 0.85))


def basal_cell_carcinoma(canvas: Canvas) -> Array:
    (image, tone), (x, y), radius = _skin(canvas), _middle(canvas), canvas.between(0.28, 0.42)
    image = paint(
        image, ellipse(canvas, x, y, radius), (0.72 + 0.15 * tone, 0.45 + 0.15 * tone, 0.45 + 0.1 * tone), 0.8
    )
    image = paint(image, ring(canvas, x, y, radius, 0.12), (0.97, 0.88, 0.86), 0.8)
    return _hairs(canvas, paint(image, ellipse(canvas, x, y, radius * 0.4), (0.42, 0.06, 0.05), 0.9))
