"""Colours, and greys with alpha, of 16 bits: Pillow opens them with the high bytes alone; H x W pixels, C channels.

The picture is decoded twice, once for the high and once for the low bytes, by telling Pillow the other byte order.
"""

import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from mmkd.images.hamming import Array
from mmkd.reasons import BadRecordError, Reason

KINDS = ("RGB;16", "RGBX;16", "RGBA;16", "RGBa;16", "CMYK;16", "LA;16")
OTHER = {"B": "L", "L": "B"}
NATIVE = sys.byteorder[0].upper()
PLANAR = 2  # of the TIFF tag: each colour by itself
BITS_PER_SAMPLE = 258


def is_wide(image: ImageFile.ImageFile) -> bool:
    """Whether an image that is not loaded yet has more than 8 bits a channel in several channels."""
    return _raw_mode(image).startswith(KINDS) or _is_planar(image)


def narrowed(image: ImageFile.ImageFile) -> Image.Image:
    """The wide image in 8 bits, grey or RGB, decoded: scaled by its own range over all colours, alpha flattened on
    black. What is fully transparent has no part in the range.

    Raises BadRecordError for layouts that are not read, else what Pillow raises.
    """
    kind = "RGB;16" if _is_planar(image) else _raw_mode(image)[:-1]
    value_HWC = _greys_with_alpha(image) if kind == "LA;16" else _values(image)
    if kind == "CMYK;16":
        return Image.fromarray(_scaled(_rgb_of_cmyk(value_HWC), None))
    colour_HWC, alpha_HW = value_HWC, None
    if kind in ("LA;16", "RGBA;16", "RGBa;16"):
        colour_HWC, alpha_HW = value_HWC[..., :-1], value_HWC[..., -1]
    elif isinstance(hidden := image.info.get("transparency"), tuple):  # of a PNG: one colour that is transparent
        alpha_HW = np.where((value_HWC == np.array(hidden)).all(axis=-1), 0, 65535)
    level_HWC = _scaled(colour_HWC, alpha_HW)
    if alpha_HW is not None and kind != "RGBa;16":  # there the colours are multiplied already
        level_HWC = np.rint(level_HWC * (alpha_HW[..., None] / np.float32(65535))).astype(np.uint8)
    return Image.fromarray(level_HWC[..., 0] if kind == "LA;16" else level_HWC)


def _values(image: ImageFile.ImageFile) -> Array:
    """uint16 (H, W, C)."""
    if _is_planar(image) and image.tile[0].codec_name == "libtiff":
        raise BadRecordError(
            Reason.UNREADABLE_IMAGE,
            "a compressed TIFF of 16 bits whose colours lie apart (planar); save it with interleaved colours",
        )
    order = _byte_order(image)
    high_HWC, low_HWC = (_decoded(image, which) for which in (order, OTHER[order]))
    return high_HWC.astype(np.uint16) << 8 | low_HWC


def _greys_with_alpha(image: ImageFile.ImageFile) -> Array:
    """uint16 (H, W, 2). Their four bytes are read as if they were four channels."""
    byte_HW4 = np.asarray(_with_raw_modes(image, lambda raw: "RGBA"), np.uint16)
    return byte_HW4[..., ::2] << 8 | byte_HW4[..., 1::2]


def _decoded(image: ImageFile.ImageFile, order: str) -> Array:
    """The channels' bytes, uint8 (H, W, C): the high ones where `order` is that of the file, else the low ones."""
    if _is_planar(image):
        return np.asarray(_with_raw_modes(image, lambda raw: f"{raw};16{order}"))
    return np.asarray(_with_raw_modes(image, lambda raw: f"{raw[:-1].replace('RGBa', 'RGBA')}{order}"))


def _with_raw_modes(image: ImageFile.ImageFile, changed: Callable[[str], str]) -> Image.Image:
    """The image decoded from its start, with other names for the layouts of its bytes."""
    again = type(image)(io.BytesIO(image.fp.getvalue()))  # type: ignore[union-attr]
    again.tile = [tile._replace(args=_changed(tile.args, changed)) for tile in again.tile]
    again.load()
    return again


def _changed(arguments: Any, changed: Callable[[str], str]) -> Any:
    """Of a decoder: its layout alone, or in front of others."""
    return changed(arguments) if isinstance(arguments, str) else (changed(arguments[0]), *arguments[1:])


def _scaled(value_HWC: Array, alpha_HW: Array | None) -> Array:
    """uint16 -> uint8, by the range of what is not fully transparent."""
    seen = value_HWC if alpha_HW is None or not alpha_HW.any() else value_HWC[alpha_HW > 0]
    low, high = int(seen.min()), int(seen.max())
    level = np.clip((np.arange(65536) - low) * (255.0 / max(1, high - low)), 0, 255)
    level_HWC: Array = np.rint(level).astype(np.uint8)[value_HWC]
    return level_HWC


def _rgb_of_cmyk(ink_HW4: Array) -> Array:
    light_HW4 = 65535 - ink_HW4.astype(np.uint32)
    return (light_HW4[..., :3] * light_HW4[..., 3:] // 65535).astype(np.uint16)


def _byte_order(image: ImageFile.ImageFile) -> str:
    if _is_planar(image):
        return "B" if image.tag_v2.prefix == b"MM" else "L"  # type: ignore[attr-defined]
    order = _raw_mode(image)[-1]
    return NATIVE if order == "N" else order


def _is_planar(image: ImageFile.ImageFile) -> bool:
    tags = getattr(image, "tag_v2", {})
    wide = max(tags.get(BITS_PER_SAMPLE, (8,))) == 16 and image.mode == "RGB"
    return wide and getattr(image, "_planar_configuration", 1) == PLANAR


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """ "" where the image has no data."""
    tiles = getattr(image, "tile", [])
    arguments = tiles[0].args if tiles else ""
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw if isinstance(raw, str) else ""
