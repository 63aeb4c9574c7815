"""Correlation of thumbnails: worked by hand, beside numpy's correlation, and of pictures without any contrast."""

import numpy as np
import pytest
from corpus_samples import encoded, noise
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from mmkd.images.store import stored_image
from mmkd.images.thumbnails import (
    HASH_SIDE,
    THUMBNAIL_PIXELS,
    THUMBNAIL_SIDE,
    correlation,
    small_grey,
    thumbnail_of,
    thumbnails_from,
)


def correlated(one: list[int], other: list[int]) -> float:
    return float(correlation(np.array([one], np.uint8), np.array([other], np.uint8))[0])


def test_worked_by_hand() -> None:
    """Deviations (-3, -1, 1, 3) and (-1, 1, -1, 1): 4 / sqrt(20 * 4)."""
    assert correlated([0, 2, 4, 6], [10, 12, 10, 12]) == pytest.approx(1 / np.sqrt(5))
    assert correlated([0, 2, 4, 6], [100, 110, 120, 130]) == pytest.approx(1)
    assert correlated([0, 2, 4, 6], [6, 4, 2, 0]) == 0  # a negative is no copy


@pytest.mark.parametrize(
    ("one", "other", "expected"), [((0, 0), (255, 255), 1), ((7, 7), (7, 8), 0), ((0, 9), (3, 3), 0)]
)
def test_pictures_of_one_level_correlate_among_themselves_only(
    one: tuple[int, int], other: tuple[int, int], expected: int
) -> None:
    assert correlated([*one], [*other]) == expected


thumbnails = arrays(np.uint8, (2, THUMBNAIL_PIXELS))


@given(thumbnails, st.integers(1, 100))
def test_it_is_pearsons_correlation_and_one_with_itself(thumbnail_2K: np.ndarray, other: int) -> None:
    thumbnail_2K[:, :2] = 0, other  # not of one level
    expected = np.corrcoef(thumbnail_2K.astype(np.float64))[0, 1]
    assert correlation(thumbnail_2K[:1], thumbnail_2K[1:])[0] == pytest.approx(max(0.0, expected), abs=1e-9)
    np.testing.assert_allclose(correlation(thumbnail_2K, thumbnail_2K), 1)
    assert correlation(thumbnail_2K[:1], thumbnail_2K[1:])[0] == correlation(thumbnail_2K[1:], thumbnail_2K[:1])[0]


def test_a_thumbnail_is_the_means_over_squares() -> None:
    grey_HW = np.random.default_rng(0).integers(0, 256, (HASH_SIDE, HASH_SIDE), np.uint8)
    fold = HASH_SIDE // THUMBNAIL_SIDE
    means = grey_HW.reshape(THUMBNAIL_SIDE, fold, THUMBNAIL_SIDE, fold).mean(axis=(1, 3))
    (thumbnail_K,) = thumbnails_from([thumbnail_of(Image.fromarray(grey_HW))])
    assert np.abs(thumbnail_K - means.ravel()).max() <= 0.5


def test_what_is_stored_is_the_thumbnail_of_the_stored_picture() -> None:
    image = stored_image(encoded(noise(3, 90, 70)), 16, 64, 10**6)
    again = stored_image(image.data, 16, 64, 10**6)
    assert len(image.thumbnail) == THUMBNAIL_PIXELS
    resized = Image.fromarray(noise(3, 90, 70)).resize((50, 64), Image.Resampling.LANCZOS)
    assert image.thumbnail == again.thumbnail == thumbnail_of(small_grey(resized))


def test_of_nothing_there_are_no_thumbnails() -> None:
    assert thumbnails_from([]).shape == (0, THUMBNAIL_PIXELS)
