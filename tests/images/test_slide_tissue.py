"""Tissue on an overview: Otsu against its definition, shares of boxes against counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from slide_world import GLASS, STAIN, stained

from mmkd.images.slide_tissue import covered_shares, otsu_threshold, tissue_mask
from mmkd.statistics.metrics import Array


def between(value: Array, threshold: int) -> float:
    """The variance between the two classes, from its definition."""
    low, high = value[value <= threshold], value[value > threshold]
    if not len(low) or not len(high):
        return 0.0
    return float(len(low) * len(high) / len(value) ** 2 * (low.mean() - high.mean()) ** 2)


@given(arrays.arrays(np.uint8, st.integers(1, 60), elements=st.integers(0, 255)))
def test_otsu_splits_where_the_classes_differ_most(value: Array) -> None:
    best = max(between(value, threshold) for threshold in range(256))
    assert between(value, otsu_threshold(value)) == pytest.approx(best, rel=1e-9)


def test_otsu_by_hand() -> None:
    assert otsu_threshold(np.array([0, 0, 10, 200, 210], np.uint8)) == 10
    assert otsu_threshold(np.full(7, 9, np.uint8)) == 0


def test_stain_is_tissue_and_glass_is_not() -> None:
    mask = tissue_mask(Image.fromarray(stained(60, 80, [(20, 10, 60, 40)])))
    assert mask[15:35, 25:55].all()
    assert not mask[:5].any()
    assert not mask[45:].any()


@pytest.mark.parametrize(("colour", "expected"), [(GLASS, False), (STAIN, True), ((20, 20, 22), False)])
def test_an_overview_of_one_kind_is_not_split(colour: tuple[int, int, int], expected: bool) -> None:
    noise = np.random.default_rng(0).integers(-3, 4, (50, 50, 1))
    mask = tissue_mask(Image.fromarray((np.array(colour) + noise).astype(np.uint8)))
    assert (mask == expected).all()


@given(arrays.arrays(np.bool_, (7, 9)), st.integers(0, 8), st.integers(0, 6), st.integers(1, 5), st.integers(1, 5))
def test_shares_are_counted(mask: Array, left: int, top: int, width: int, height: int) -> None:
    box = np.array([[left, top, left + width, top + height]], float)
    assert covered_shares(mask, box)[0] == pytest.approx(mask[top : top + height, left : left + width].mean())
