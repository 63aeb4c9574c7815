"""Cones and temperatures of known shape."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmkd.calibrate.geometry import MAX_SCALE, MIN_DISPERSION, MIN_SCALE, dispersion, mean_direction, temperature


def test_dispersion_of_a_cone_is_its_squared_half_angle() -> None:
    angle = 0.3
    around = np.linspace(0, 2 * math.pi, 100, endpoint=False)
    cone = np.stack([math.sin(angle) * np.cos(around), math.sin(angle) * np.sin(around), np.full(100, math.cos(angle))])
    assert dispersion(cone.T) == pytest.approx(angle**2, rel=1e-6)
    np.testing.assert_allclose(mean_direction(cone.T), [0, 0, math.cos(angle)], atol=1e-12)


def test_losses_may_be_divided_by_the_dispersion_of_equal_vectors() -> None:
    assert dispersion(np.tile([0.6, 0.8], (5, 1))) == MIN_DISPERSION


def entropy_at(image: torch.Tensor, text: torch.Tensor, scale: float) -> float:
    p = F.softmax(scale * image @ text.T, dim=1)
    return float(-(p * p.log()).sum(1).median() / math.log(len(image)))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("cone", [0.0, 3.0])
def test_the_temperature_gives_the_entropy_asked_for(share: float, cone: float) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(64, 16, generator=generator)
    text = image + 0.3 * torch.randn(64, 16, generator=generator)
    image, text = (F.normalize(side + cone, dim=1) for side in (image, text))
    scale = temperature(image, text, share)
    if MIN_SCALE * 1.01 < scale < MAX_SCALE * 0.99:
        assert entropy_at(image, text, scale) == pytest.approx(share, abs=0.01)
    else:  # a cone too narrow for the range: the nearest end
        assert scale == pytest.approx(MAX_SCALE, rel=0.01)
        assert entropy_at(image, text, MAX_SCALE) > share


def test_a_narrow_cone_needs_a_larger_scale() -> None:
    image = F.normalize(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    narrow = F.normalize(image + 0.5, dim=1)
    assert temperature(narrow, narrow, 0.3) > temperature(image, image, 0.3)
