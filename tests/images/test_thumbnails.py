"""How alike pictures are: worked by hand, beside numpy's correlation, and of pictures without any contrast."""

import numpy as np
import pytest
from corpus_samples import encoded, noise
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from mmkd.images.decode import HASH_SIDE, small_grey, stored_image
from mmkd.images.thumbnails import LOOK_PIXELS, LOOK_SIDE, likeness, look_of, looks_from


def alike(one: list[int], other: list[int]) -> float:
    return float(likeness(np.array([one], np.uint8), np.array([other], np.uint8))[0])


def test_worked_by_hand() -> None:
    """Deviations (-3, -1, 1, 3) and (-1, 1, -1, 1): 4 / sqrt(20 * 4)."""
    assert alike([0, 2, 4, 6], [10, 12, 10, 12]) == pytest.approx(1 / np.sqrt(5))
    assert alike([0, 2, 4, 6], [100, 110, 120, 130]) == pytest.approx(1)
    assert alike([0, 2, 4, 6], [6, 4, 2, 0]) == 0  # a negative is no copy


@pytest.mark.parametrize(
    ("one", "other", "expected"), [((0, 0), (255, 255), 1), ((7, 7), (7, 8), 0), ((0, 9), (3, 3), 0)]
)
def test_pictures_of_one_level_are_alike_among_themselves_only(
    one: tuple[int, int], other: tuple[int, int], expected: int
) -> None:
    assert alike([*one], [*other]) == expected


looks = arrays(np.uint8, (2, LOOK_PIXELS))


@given(looks, st.integers(1, 100))
def test_it_is_the_correlation_and_each_is_like_itself(look_2K: np.ndarray, other: int) -> None:
    look_2K[:, :2] = 0, other  # not of one level
    correlation = np.corrcoef(look_2K.astype(np.float64))[0, 1]
    assert likeness(look_2K[:1], look_2K[1:])[0] == pytest.approx(max(0.0, correlation), abs=1e-9)
    np.testing.assert_allclose(likeness(look_2K, look_2K), 1)
    assert likeness(look_2K[:1], look_2K[1:])[0] == likeness(look_2K[1:], look_2K[:1])[0]


def test_a_look_is_the_means_over_squares() -> None:
    grey_HW = np.random.default_rng(0).integers(0, 256, (HASH_SIDE, HASH_SIDE), np.uint8)
    fold = HASH_SIDE // LOOK_SIDE
    means = grey_HW.reshape(LOOK_SIDE, fold, LOOK_SIDE, fold).mean(axis=(1, 3))
    (look_K,) = looks_from([look_of(Image.fromarray(grey_HW))])
    assert np.abs(look_K - means.ravel()).max() <= 0.5


def test_what_is_stored_is_the_look_of_the_stored_picture() -> None:
    image = stored_image(encoded(noise(3, 90, 70)), 16, 64, 10**6)
    again = stored_image(image.data, 16, 64, 10**6)
    assert len(image.look) == LOOK_PIXELS
    assert image.look == again.look == look_of(small_grey(Image.fromarray(noise(3, 90, 70)).resize((50, 64), 1)))


def test_of_nothing_there_are_no_looks() -> None:
    assert looks_from([]).shape == (0, LOOK_PIXELS)
