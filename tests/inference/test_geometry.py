"""The picture at a model's size without PyTorch is open_clip's, bit by bit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from mmkd.images.transform import from_compose
from mmkd.inference.geometry import Geometry

sides = st.integers(1, 90)


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    shape = (height, width, 3)
    return Image.fromarray(np.random.default_rng(width * 1000 + height).integers(0, 256, shape, np.uint8)).convert(mode)


@given(
    width=sides,
    height=sides,
    mode=st.sampled_from(["shortest", "longest", "squash"]),
    size=st.sampled_from([(32, 32), (31, 31), (24, 40), (40, 24)]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    fill=st.sampled_from([0, 7]),
)
@settings(max_examples=300, deadline=None)
def test_pixels_are_open_clips(
    width: int, height: int, mode: str, size: tuple[int, int], interpolation: str, fill: int
) -> None:
    described: dict[str, Any] = {
        "size": size,
        "resize_mode": mode,
        "interpolation": interpolation,
        "fill_color": fill,
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.3, 0.4),
    }
    if size[0] != size[1] and mode == "shortest":
        described["interpolation"] = "bicubic"  # open_clip knows no other there
    if min(width, height) * 30 < max(width, height):
        return  # a side would vanish, which both refuse
    theirs = from_compose(image_transform_v2(PreprocessCfg(**described), is_train=False))
    image = noise(width, height)
    geometry = Geometry(described)
    expected = theirs.pixels(image).numpy()
    found = geometry.pixels(image)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(geometry.normalised(found[None])[0], theirs(image).numpy())


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_other_modes_of_colour_become_rgb_as_in_open_clip(mode: str) -> None:
    described = {"size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3, "resize_mode": "shortest"}
    theirs = from_compose(image_transform_v2(PreprocessCfg(**described), is_train=False))
    image = noise(50, 41, mode)
    np.testing.assert_array_equal(Geometry(described).pixels(image), theirs.pixels(image).numpy())


def test_what_open_clip_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="resize_mode 'crop'"):
        Geometry({"size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3, "resize_mode": "crop"})
