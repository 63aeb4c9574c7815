"""An image's way in two steps gives, bit for bit, what open_clip's own transform gives in one."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Normalize, ToTensor

from mmkd.images.plain import plain
from mmkd.images.transform import ImageTransform, from_compose, from_preprocess, seen_part

SIDES = {"square": 32, "pair": (32, 32), "wide": (24, 40), "tall": (40, 24)}
MODES = ("shortest", "longest", "squash")


def noise(width: int, height: int, channels: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(width).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def both(preprocess: dict[str, Any]) -> tuple[ImageTransform, Any]:
    """Ours and open_clip's."""
    return from_preprocess(preprocess), image_transform_v2(PreprocessCfg(**preprocess), is_train=False)


def assert_alike(image: Image.Image, preprocess: dict[str, Any]) -> None:
    ours, theirs = both(preprocess)
    wanted = theirs(image)
    pixels = ours.pixels(image)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == wanted.shape
    assert torch.equal(ours(image), wanted)
    assert torch.equal(ours.normalise(torch.stack([pixels, pixels]))[1], wanted)  # as a batch is


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("size", [(61, 37), (37, 61), (20, 20), (32, 32), (200, 31)])
def test_pixels_are_open_clips(size: tuple[int, int], side: str, mode: str, interpolation: str) -> None:
    preprocess = {
        "size": SIDES[side],
        "resize_mode": mode,
        "interpolation": interpolation,
        "fill_color": 127,
        "mean": (0.48145466, 0.4578275, 0.40821073),
        "std": (0.26862954, 0.26130258, 0.27577711),
    }
    assert_alike(Image.fromarray(noise(*size)), preprocess)


def palette() -> Image.Image:
    return Image.fromarray(noise(50, 40)).quantize(17)


IMAGES = {
    "grey": lambda: Image.fromarray(noise(50, 40, 1)),
    "grey and alpha": lambda: Image.fromarray(noise(50, 40, 1)).convert("LA"),
    "alpha": lambda: Image.fromarray(noise(50, 40, 4), "RGBA"),
    "palette": palette,
    "16 bit": lambda: Image.fromarray(noise(50, 40, 1, np.uint16)),
    "32 bit": lambda: Image.fromarray(noise(50, 40, 1, np.int32), "I"),
    "black and white": lambda: Image.fromarray(noise(50, 40, 1)).convert("1"),
    "CMYK": lambda: Image.fromarray(noise(50, 40)).convert("CMYK"),
}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", IMAGES)
def test_every_kind_of_image_becomes_what_open_clip_makes_of_it(kind: str, mode: str) -> None:
    image = plain(IMAGES[kind]())
    assert image.mode in ("L", "RGB")
    assert_alike(image, {"size": 32, "resize_mode": mode, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)})
    # the extraction hands over RGB: resizing channel by channel, that is the same
    ours = from_preprocess({"size": 32, "resize_mode": mode})
    assert torch.equal(ours.pixels(image), ours.pixels(image.convert("RGB")))


def test_normalising_is_torchvisions_arithmetic_for_every_value() -> None:
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    ours = from_preprocess({"size": 16, "mean": mean, "std": std})
    values = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2))
    wanted = Compose([ToTensor(), Normalize(mean, std)])(values)
    assert torch.equal(ours(values), wanted)


@pytest.mark.parametrize("key", ["size", "resize_mode", "interpolation", "fill_color"])
def test_geometries_that_differ_print_differently(key: str) -> None:
    """They are shared among teachers when they print alike (mmkd.features.engine)."""
    base = {"size": 32, "resize_mode": "longest", "interpolation": "bicubic", "fill_color": 0}
    other = {"size": 33, "resize_mode": "squash", "interpolation": "bilinear", "fill_color": 9}
    first, same, changed = (from_preprocess(cfg) for cfg in (base, dict(base), {**base, key: other[key]}))
    assert repr(first.geometry) == repr(same.geometry)
    assert repr(first.geometry) != repr(changed.geometry)
    image = Image.fromarray(noise(50, 30))
    assert not torch.equal(first.pixels(image), changed.pixels(image))


def test_mean_and_deviation_are_no_part_of_the_geometry() -> None:
    first, second = (from_preprocess({"size": 32, "mean": (mean,) * 3}) for mean in (0.1, 0.2))
    assert repr(first.geometry) == repr(second.geometry)
    assert first.mean != second.mean


@pytest.mark.parametrize("mode", MODES)
def test_transforms_travel_to_worker_processes(mode: str) -> None:
    ours = from_preprocess({"size": (24, 40), "resize_mode": mode, "fill_color": 3})
    again = pickle.loads(pickle.dumps(ours))
    image = Image.fromarray(noise(61, 37))
    assert torch.equal(again(image), ours(image))
    assert repr(again.geometry) == repr(ours.geometry)


@pytest.mark.parametrize("preprocess", [{"size": 32, "crop": 1}, {"size": 32, "resize_mode": "stretch"}])
def test_unknown_keys_and_values_are_refused(preprocess: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a preprocess_cfg of open_clip"):
        from_preprocess(preprocess)


@pytest.mark.parametrize(
    "steps",
    [[ToTensor(), Normalize((0.5,), (0.5,)), CenterCrop(8)], [CenterCrop(8), ToTensor()], [Normalize((0.5,), (0.5,))]],
    ids=["crops last", "does not normalise", "has no pixels"],
)
def test_pipelines_in_another_order_are_refused(steps: list[Any]) -> None:
    with pytest.raises(ValueError, match="ends in ToTensor and Normalize"):
        from_compose(Compose(steps))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("shortest", (0.125, 0.0, 0.875, 1.0)),  # the square in the middle of 400 x 300
        ("squash", (0.0, 0.0, 1.0, 1.0)),
        ("longest", (0.0, 0.0, 1.0, 0.0)),  # padded above and below
    ],
)
@pytest.mark.parametrize("size", [32, 224])
def test_the_part_of_a_picture_that_is_seen(mode: str, expected: tuple[float, ...], size: int) -> None:
    """Equal for models of other sizes, to a pixel of theirs."""
    found = seen_part(from_preprocess({"size": size, "resize_mode": mode}))
    assert found == pytest.approx(expected, abs=1 / size)
