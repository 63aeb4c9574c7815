"""Corrupted pictures: what each family does, by hand where it can be, and what holds of all."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter
from worlds import Named

from mmkd.evaluation.corruptions.corrupt import CORRUPTIONS, CorruptedImage, corrupt
from mmkd.evaluation.corruptions.families import FAMILIES, OF_MODALITY, SEVERITIES, Family, families_of
from mmkd.evaluation.corruptions.scale import LARGEST
from mmkd.modalities.taxonomy import MODALITIES


def picture(size: tuple[int, int] = (96, 80), seed: int = 0, grey: bool = False) -> Image.Image:
    """Shapes a few pixels wide with some colour, no value at an end of the range."""
    rng = np.random.default_rng(seed)
    value_HWC = gaussian_filter(rng.random((size[1], size[0], 3)), (1, 1, 0))
    value_HWC = 0.2 + 0.5 * (value_HWC - value_HWC.min()) / np.ptp(value_HWC)
    if grey:
        value_HWC = np.repeat(value_HWC[:, :, :1], 3, axis=2)
    return Image.fromarray((255 * value_HWC).astype(np.uint8))


def values(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float64) / 255


def test_every_family_has_its_function_and_every_modality_its_families() -> None:
    assert tuple(CORRUPTIONS) == FAMILIES
    assert set(OF_MODALITY) == set(MODALITIES) - {"endoscopy"}  # which takes the choice for colour pictures
    assert {family for found in OF_MODALITY.values() for family in found} == set(FAMILIES)
    assert "stain_deposit" in families_of("histopathology", True)
    assert "saturate" in families_of("mixed", True)
    assert families_of("ct", False) == []
    assert families_of("ct", ["bubble", "pixelate", "bubble"]) == ["pixelate", "bubble"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_is_changed_always_alike_and_more_with_severity(family: Family) -> None:
    image = picture()
    found = [values(corrupt(image, family, severity, "set/1")) for severity in SEVERITIES]
    again = values(corrupt(image, family, 3, "set/1"))
    np.testing.assert_array_equal(again, found[2])
    assert all(one.shape == (80, 96, 3) for one in found)
    away = [float(np.abs(one - values(image)).mean()) for one in found]
    assert away[0] > 0
    assert away[4] > 1.2 * away[0]
    assert all(later >= 0.8 * before for before, later in pairwise(away))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(1, 1), (3, 200), (700, 500)])
def test_pictures_of_any_size_come_out_and_large_ones_smaller(family: Family, size: tuple[int, int]) -> None:
    found = corrupt(picture(size, seed=1), family, 5, "x")
    expected = size if min(size) <= LARGEST else (round(size[0] * LARGEST / min(size)), LARGEST)
    assert (found.mode, found.size) == ("RGB", expected)


def test_draws_depend_on_the_picture_s_name_and_on_nothing_else_that_is_drawn() -> None:
    image = picture()
    first, second = (values(corrupt(image, "gaussian_noise", 2, name)) for name in ("set/1", "set/2"))
    assert not np.array_equal(first, second)
    moved = [CorruptedImage(Named(place), "shot_noise", 4, "set/1").of(image) for place in ("/a.png", "/b.png")]
    np.testing.assert_array_equal(values(moved[0]), values(moved[1]))


@pytest.mark.parametrize("family", ["gaussian_noise", "speckle_noise", "impulse_noise", "shot_noise", "saturate"])
def test_a_grey_picture_stays_grey(family: Family) -> None:
    found = values(corrupt(picture(grey=True), family, 3, "x"))
    np.testing.assert_array_equal(found[:, :, 0], found[:, :, 2])


@pytest.mark.parametrize(("severity", "deviation"), [(1, 0.04), (3, 0.12)])
def test_noise_has_the_deviation_it_says(severity: int, deviation: float) -> None:
    flat = Image.new("RGB", (200, 200), (128, 127, 128))
    normal = values(corrupt(flat, "gaussian_noise", severity, "x")) - values(flat)
    assert normal.std() == pytest.approx(deviation, rel=0.02)
    assert abs(normal.mean()) < 4 * deviation / np.sqrt(normal.size)
    photons = {1: 60, 3: 18}[severity]
    shot = values(corrupt(flat, "shot_noise", severity, "x"))
    assert shot.std() == pytest.approx(np.sqrt(0.5 / photons), rel=0.05)  # of a Poisson count over its scale
    struck = {1: 0.01, 3: 0.06}[severity]
    impulse = values(corrupt(flat, "impulse_noise", severity, "x"))
    assert np.mean((impulse == 0) | (impulse == 1)) == pytest.approx(struck, rel=0.1)


def test_grains_are_as_coarse_in_a_large_picture_as_in_a_small_one() -> None:
    """Noise is of the reference size: reduced to it, a large picture is as noisy as a small one."""
    found = []
    for side in (224, 448):
        noisy = corrupt(Image.new("RGB", (side, side), (128, 127, 128)), "gaussian_noise", 3, "x")
        found.append(values(noisy.resize((224, 224), Image.Resampling.BOX)).std())
    assert found[0] == pytest.approx(found[1], rel=0.03)


def test_brightness_and_contrast_are_those_of_pillow() -> None:
    image = picture(grey=True)
    for family, factor in (("brightness_down", 0.7), ("brightness_up", 1.3)):
        expected = values(ImageEnhance.Brightness(image).enhance(factor))
        np.testing.assert_allclose(values(corrupt(image, family, 3, "x")), expected, atol=1.01 / 255)  # type: ignore[arg-type]
    expected = values(ImageEnhance.Contrast(image).enhance(0.6))
    np.testing.assert_allclose(values(corrupt(image, "contrast_down", 3, "x")), expected, atol=1.01 / 255)


def test_gamma_and_saturation_by_hand() -> None:
    one = Image.new("RGB", (2, 2), (51, 102, 204))  # 0.2, 0.4, 0.8: saturation 0.75, hue 220 degrees
    np.testing.assert_allclose(
        values(corrupt(one, "gamma_up", 5, "x"))[0, 0], np.array([0.2, 0.4, 0.8]) ** 1.6, atol=2e-3
    )
    # saturation 0.9 at the same value and hue: 0.8 (1 - 0.9 (1, 2/3, 0))
    np.testing.assert_allclose(values(corrupt(one, "saturate", 3, "x"))[0, 0], [0.08, 0.32, 0.8], atol=2e-3)


def test_blurs_keep_a_flat_picture_and_spread_a_point_as_far_as_they_say() -> None:
    flat, point = Image.new("RGB", (224, 224), (90, 130, 60)), np.zeros((224, 224, 3), np.uint8)
    point[108:117, 108:117] = 255
    for family in ("gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur"):
        np.testing.assert_allclose(values(corrupt(flat, family, 5, "x")), values(flat), atol=1.01 / 255)  # type: ignore[arg-type]
    spread = values(corrupt(Image.fromarray(point), "defocus_blur", 5, "x"))[:, :, 0]
    rows = np.flatnonzero(spread.max(axis=1) > 0)
    assert (rows[0], rows[-1]) == (108 - 7, 116 + 7)
    assert spread.sum() == pytest.approx(81, rel=0.02)
    track = values(corrupt(Image.fromarray(point), "motion_blur", 3, "x"))[:, :, 0]
    assert track.sum() == pytest.approx(81, rel=0.02)


def test_artefacts_leave_the_rest_of_the_picture() -> None:
    image = picture((200, 200))
    corner = values(corrupt(image, "black_corner", 1, "x"))
    assert corner[0, 0].max() == 0
    np.testing.assert_array_equal(corner[100, 100], values(image)[100, 100])
    for family in ("stain_deposit", "bubble", "characters"):
        changed = np.abs(values(corrupt(image, family, 1, "x")) - values(image)).max(axis=2) > 0.02  # type: ignore[arg-type]
        assert 0.0005 < changed.mean() < 0.3


def test_pixelate_has_squares_and_jpeg_a_loss() -> None:
    found = values(corrupt(picture((80, 80)), "pixelate", 5, "x"))
    assert len(np.unique(found[:, :, 0], axis=0)) == 20  # a quarter of 80 rows
    losses = [np.abs(values(corrupt(picture(), "jpeg_compression", s, "x")) - values(picture())).mean() for s in (1, 5)]
    assert 0 < losses[0] < losses[1] < 0.1


@pytest.mark.parametrize("severity", [0, 6, -1])
def test_another_severity_is_refused(severity: int) -> None:
    with pytest.raises(ValueError, match="expected one of"):
        corrupt(picture(), "bubble", severity, "x")


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(FAMILIES), st.integers(1, 5), st.integers(0, 255), st.text(max_size=5))
def test_flat_pictures_and_strange_names_are_no_trouble(family: Family, severity: int, level: int, name: str) -> None:
    found = corrupt(Image.new("RGB", (20, 17), (level, 255 - level, level)), family, severity, name)
    assert found.size == (20, 17)


def test_a_reference_has_a_digest_that_all_of_it_decides() -> None:
    base = CorruptedImage(Named("a"), "bubble", 1, "set/1")
    others = [
        CorruptedImage(Named("b"), "bubble", 1, "set/1"),
        CorruptedImage(Named("a"), "saturate", 1, "set/1"),
        CorruptedImage(Named("a"), "bubble", 2, "set/1"),
        CorruptedImage(Named("a"), "bubble", 1, "set/2"),
    ]
    assert len({base.digest(), *(one.digest() for one in others)}) == 5
    assert base.read().size == Named("a").read().size
