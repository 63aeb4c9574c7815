"""Chest x-ray, brain CT, brain MRI and abdominal ultrasound. One function a finding; each draws a whole image."""

import math

import numpy as np

from mmkd.phantom.primitives import Array, Canvas, ellipse, grey, ring, scatter, speckle, streak, stripe, texture

# X-ray: the patient's left is on the right of the image


def chest(canvas: Canvas, heart: float = 0.25, shadow: Array | float = 0) -> Array:
    lung_x, lung_y = canvas.trait(0, 0.43, 0.04), canvas.trait(1, -0.02, 0.07)
    wide, tall = canvas.trait(2, 0.3, 0.04), canvas.trait(3, 0.62, 0.07)
    lungs = ellipse(canvas, -lung_x, lung_y, wide, tall) + ellipse(canvas, lung_x, lung_y, wide, tall)
    spacing, phase = canvas.trait(4, 13, 1.5), canvas.between(0, 6.3)
    ribs = 0.5 + 0.5 * np.sin(spacing * (canvas.y + 0.25 * canvas.x**2) + phase)
    image = canvas.flat(0.7) - (0.5 - 0.07 * ribs) * lungs
    size = heart * canvas.trait(5, 1, 0.12)
    image = image + 0.33 * ellipse(canvas, 0.08 + 0.25 * size, 0.34 + canvas.between(-0.06, 0.06), size, size * 1.1, 5)
    return grey(image + shadow * lungs + 0.06 * texture(canvas, 5))


def left_lung_opacity(canvas: Canvas) -> Array:
    place = canvas.between(0.35, 0.52), canvas.between(-0.4, 0.2)
    shadow = ellipse(canvas, *place, canvas.between(0.16, 0.26), canvas.between(0.18, 0.32), 3)
    return chest(canvas, shadow=canvas.between(0.25, 0.42) * shadow)


def right_pleural_effusion(canvas: Canvas) -> Array:
    level = canvas.between(0.12, 0.42) - 0.35 * (canvas.x + 0.42) ** 2
    side = canvas.x < 0
    shadow = side * (0.5 + 0.5 * np.tanh((canvas.y - level) * 9))
    return chest(canvas, shadow=canvas.between(0.32, 0.48) * shadow.astype(np.float32))


def enlarged_heart(canvas: Canvas) -> Array:
    return chest(canvas, heart=canvas.between(0.38, 0.5))


# CT of the head


def _head(canvas: Canvas, ventricle: float = 0.08) -> Array:
    cx, cy = canvas.between(-0.06, 0.06), canvas.between(-0.06, 0.06)
    rx, ry = canvas.trait(0, 0.76, 0.05), canvas.trait(1, 0.87, 0.05)
    brain = ellipse(canvas, cx, cy, rx - 0.11, ry - 0.11, 14)
    skull = ellipse(canvas, cx, cy, rx, ry, 14) - brain
    image = 0.92 * skull + (canvas.trait(2, 0.42, 0.04) + 0.025 * texture(canvas, 7)) * brain
    gap, tall = canvas.trait(3, 0.11, 0.03), canvas.trait(4, 0.25, 0.05)
    for side in (-1, 1):
        gap_x = cx + side * (gap + ventricle / 2)
        image = image - 0.27 * ellipse(canvas, gap_x, cy - 0.05, ventricle, tall + ventricle, 4)
    return image


def _beside(canvas: Canvas) -> tuple[float, float]:
    return canvas.sign() * canvas.between(0.26, 0.44), canvas.between(-0.42, 0.42)


def normal_brain(canvas: Canvas) -> Array:
    return grey(_head(canvas))


def intracranial_haemorrhage(canvas: Canvas) -> Array:
    clot = ellipse(canvas, *_beside(canvas), canvas.between(0.15, 0.24), canvas.between(0.15, 0.28), 6)
    return grey(_head(canvas) + canvas.between(0.32, 0.46) * clot)


def ischaemic_stroke(canvas: Canvas) -> Array:
    x, y = _beside(canvas)
    core = ellipse(canvas, 1.1 * x, y, canvas.between(0.22, 0.3), canvas.between(0.26, 0.4), 4)
    return grey(_head(canvas) - canvas.between(0.2, 0.3) * core)


def dilated_ventricles(canvas: Canvas) -> Array:
    return grey(_head(canvas, ventricle=canvas.between(0.16, 0.24)))


# MRI of the head, fluid-suppressed


def _cortex(canvas: Canvas, shrink: float = 0) -> tuple[Array, Array]:
    """The image and the mask of the white matter."""
    cx, cy = canvas.between(-0.06, 0.06), canvas.between(-0.06, 0.06)
    rx, ry = canvas.trait(0, 0.82, 0.05), canvas.trait(1, 0.88, 0.05)
    scalp = ellipse(canvas, cx, cy, rx, ry, 18) - ellipse(canvas, cx, cy, rx - 0.08, ry - 0.08, 18)
    angle = np.arctan2(canvas.y - cy, canvas.x - cx)
    folds = (0.07 + 0.25 * shrink) * np.sin(canvas.trait(2, 11, 1) * angle + canvas.between(0, 6.3))
    rx, ry = rx - 0.16 - shrink, ry - 0.16 - shrink
    distance = np.sqrt(((canvas.x - cx) / rx) ** 2 + ((canvas.y - cy) / ry) ** 2) + folds
    brain = 0.5 - 0.5 * np.tanh(7 * (distance - 1))
    white = 0.5 - 0.5 * np.tanh(7 * (distance - 0.68))
    image = 0.62 * scalp + canvas.trait(3, 0.5, 0.04) * brain - 0.14 * white + 0.025 * texture(canvas, 8)
    slit = ellipse(canvas, cx, cy, 0.06 + shrink / 2, canvas.trait(4, 0.22, 0.05), 5)
    return (image - 0.25 * slit).astype(np.float32), white.astype(np.float32)


def unremarkable_mri(canvas: Canvas) -> Array:
    return grey(_cortex(canvas)[0])


def enhancing_tumour(canvas: Canvas) -> Array:
    image, _ = _cortex(canvas)
    x, y = canvas.sign() * canvas.between(0.2, 0.4), canvas.between(-0.4, 0.4)
    radius = canvas.between(0.2, 0.3)
    core = ellipse(canvas, x, y, radius - 0.08)
    return grey(image + canvas.between(0.32, 0.48) * ring(canvas, x, y, radius, 0.1, 8) - 0.22 * core)


def white_matter_lesions(canvas: Canvas) -> Array:
    image, white = _cortex(canvas)
    lesions = scatter(canvas, int(canvas.rng.integers(5, 10)), (0.06, 0.1), 0.42)
    return grey(image + canvas.between(0.38, 0.52) * lesions * white)


def cerebral_atrophy(canvas: Canvas) -> Array:
    return grey(_cortex(canvas, shrink=canvas.between(0.12, 0.19))[0])


# Ultrasound: a sector under the probe, dark lumen, bright reflectors, shadows running downwards


def sector(canvas: Canvas, echo: Array | float = 0) -> Array:
    angle = np.arctan2(canvas.x, canvas.y + 1.5)
    depth = np.sqrt(canvas.x**2 + (canvas.y + 1.5) ** 2)
    fan = (0.5 - 0.5 * np.tanh(14 * (np.abs(angle) - 0.5))) * (0.5 - 0.5 * np.tanh(14 * (depth - 2.4)))
    layer = stripe(canvas, canvas.trait(0, -0.7, 0.08) + 0.15 * canvas.x**2, 0.06)
    base = canvas.trait(1, 0.42, 0.05) - 0.1 * canvas.y + 0.06 * texture(canvas, 6) + 0.25 * layer
    tissue = np.clip(base + echo, 0.02, None)
    return grey((fan * tissue * speckle(canvas, canvas.between(0.15, 0.26))).astype(np.float32))


def _organ_place(canvas: Canvas) -> tuple[float, float]:
    return canvas.between(-0.32, 0.32), canvas.between(-0.3, 0.2)


def simple_cyst(canvas: Canvas) -> Array:
    x, y = _organ_place(canvas)
    radius = canvas.between(0.2, 0.31)
    behind = ellipse(canvas, x, y + radius + 0.28, radius * 0.8, 0.3, 4)
    return sector(canvas, 0.2 * behind - 0.5 * ellipse(canvas, x, y, radius, radius * canvas.between(0.8, 1.1), 12))


def solid_mass(canvas: Canvas) -> Array:
    x, y = _organ_place(canvas)
    lumps = scatter(canvas, 6, (0.16, 0.24), 0.2, x, y)
    return sector(canvas, canvas.between(0.26, 0.4) * lumps)


def shadowing_stone(canvas: Canvas) -> Array:
    x, y = _organ_place(canvas)
    lean = math.atan2(x, y + 1.5)
    stone = ellipse(canvas, x, y, canvas.between(0.11, 0.17), 0.09, 8)
    shadow = streak(canvas, x + 0.6 * math.sin(lean), y + 0.6 * math.cos(lean), math.pi / 2 - lean, 0.52, 0.12)
    return sector(canvas, 0.75 * stone - 0.42 * shadow)
