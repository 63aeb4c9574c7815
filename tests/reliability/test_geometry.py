"""Cones and temperatures of known shape."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmkd.reliability.geometry import (
    CLIP_SCALE,
    MAX_SCALE,
    MIN_DISPERSION,
    MIN_SCALE,
    dispersion,
    mean_direction,
    temperature,
)


def test_dispersion_of_a_cone_is_its_squared_half_angle() -> None:
    angle = 0.3
    around = np.linspace(0, 2 * math.pi, 100, endpoint=False)
    cone = np.stack([math.sin(angle) * np.cos(around), math.sin(angle) * np.sin(around), np.full(100, math.cos(angle))])
    assert dispersion(cone.T) == pytest.approx(angle**2, rel=1e-6)
    np.testing.assert_allclose(mean_direction(cone.T), [0, 0, math.cos(angle)], atol=1e-12)


def test_losses_may_be_divided_by_the_dispersion_of_equal_vectors() -> None:
    assert dispersion(np.tile([0.6, 0.8], (5, 1))) == MIN_DISPERSION


def pair_of_sides(cone: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(64, 16, generator=generator)
    text = image + 0.3 * torch.randn(64, 16, generator=generator)
    return F.normalize(image + cone, dim=1), F.normalize(text + cone, dim=1)


@pytest.mark.parametrize("cone", [0.0, 0.5, 1.5])
def test_every_cone_gets_logits_of_the_spread_asked_for(cone: float) -> None:
    image, text = pair_of_sides(cone)
    logits = temperature(image, text, 5.0) * image @ text.T
    assert logits.std(dim=1).mean().item() == pytest.approx(5.0, rel=1e-5)


def test_a_narrow_cone_needs_a_larger_scale() -> None:
    assert temperature(*pair_of_sides(1.5), 3.0) > 2 * temperature(*pair_of_sides(0.0), 3.0)


def test_scales_stay_in_their_range() -> None:
    same = torch.ones(4, 4) / 2
    assert temperature(same, same, 5.0) == MAX_SCALE
    assert temperature(*pair_of_sides(0.0), 1e-3) == MIN_SCALE
    assert temperature(same[:1], same[:1], 5.0) == CLIP_SCALE


def test_more_captions_of_one_meaning_hardly_move_the_scale() -> None:
    image, text = pair_of_sides(0.0)
    once, thrice = temperature(image, text, 5.0), temperature(image.repeat(3, 1), text.repeat(3, 1), 5.0)
    assert thrice == pytest.approx(once, rel=0.02)
