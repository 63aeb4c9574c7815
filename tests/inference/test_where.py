"""Occlusion on pictures whose contents are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd.inference.where import occlusion
from mmkd.statistics.metrics import Array

RED, GREEN = (1.0, 0.0), (0.0, 1.0)


def amounts(image_BCHW: np.ndarray) -> Array:
    """A model that sees how much of a picture is red and how much is green."""
    amount_BD = image_BCHW[:, :2].astype(np.float32).mean(axis=(2, 3)) + 1.0
    return np.asarray(amount_BD / np.linalg.norm(amount_BD, axis=1, keepdims=True), np.float32)


def spots(size: int) -> np.ndarray:
    """Black, red in the upper left corner, green in the lower right one."""
    pixel_CHW = np.zeros((3, size, size), np.uint8)
    pixel_CHW[0, : size // 4, : size // 4] = 200
    pixel_CHW[1, -size // 4 :, -size // 4 :] = 200
    return pixel_CHW


@pytest.mark.parametrize("size", [32, 50, 224])
def test_each_text_is_found_where_it_is(size: int) -> None:
    red_GG, green_GG = occlusion(amounts, spots(size), np.array([RED, GREEN], np.float32))
    assert np.unravel_index(red_GG.argmax(), red_GG.shape) == (0, 0)
    assert np.unravel_index(green_GG.argmax(), green_GG.shape) == (7, 7)
    assert (red_GG[:2, :2] > 0.01).all()
    assert (red_GG[6:, 6:] < -0.01).all()
    np.testing.assert_allclose(red_GG, -green_GG, atol=1e-7)  # what speaks for one speaks against the other


def test_a_single_text_is_found_without_another_to_compare() -> None:
    (red_GG,) = occlusion(amounts, spots(64), np.array([RED], np.float32))
    assert np.unravel_index(red_GG.argmax(), red_GG.shape) == (0, 0)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.integers(0, 255)] * 3), st.integers(8, 40), st.integers(1, 3))
def test_a_picture_of_one_colour_has_a_flat_map(colour: tuple[int, int, int], size: int, texts: int) -> None:
    pixel_CHW = np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (3, size, size)).copy()
    maps_TGG = occlusion(amounts, pixel_CHW, np.eye(3, 2, dtype=np.float32)[:texts] + 0.1)
    np.testing.assert_allclose(maps_TGG, 0.0, atol=1e-6)


def test_a_cell_has_the_mean_of_the_windows_over_it() -> None:
    """By brute force, one window at a time."""
    pixel_CHW = np.random.default_rng(0).integers(0, 256, (3, 24, 16), dtype=np.uint8)
    text_TD = np.array([(0.6, 0.8), RED, GREEN], np.float32)
    mean_C = pixel_CHW.mean(axis=(1, 2)).round().astype(np.uint8)
    expected_TGG = np.zeros((3, 4, 4))
    for row in range(4):
        for column in range(4):
            losses = []
            for top in {max(row - 1, 0), min(row, 2)}:
                for left in {max(column - 1, 0), min(column, 2)}:
                    view = pixel_CHW.copy()
                    view[:, top * 6 : (top + 2) * 6, left * 4 : (left + 2) * 4] = mean_C[:, None, None]
                    whole, covered = (amounts(one[None])[0] @ text_TD.T for one in (pixel_CHW, view))
                    losses.append((whole - whole.mean()) - (covered - covered.mean()))
            expected_TGG[:, row, column] = np.mean(losses, axis=0)
    np.testing.assert_allclose(occlusion(amounts, pixel_CHW, text_TD, grid=4), expected_TGG, atol=1e-6)
