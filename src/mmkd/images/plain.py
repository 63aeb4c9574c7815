"""Pictures of any pixel format as 8-bit grey or RGB; H x W pixels, C colours."""

import numpy as np
from PIL import Image

from mmkd.images.hamming import Array
from mmkd.reasons import BadRecordError, Reason


def plain(image: Image.Image) -> Image.Image:
    """8-bit grey ("L") or RGB. Wider greys are scaled by their own range to 0..255, alpha is flattened on black.

    Raises BadRecordError for greys of which none is a number.
    """
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        value_HW = np.asarray(image, np.float64)
        if not np.isfinite(value_HW).any():
            raise BadRecordError(Reason.UNREADABLE_IMAGE, "none of its values is a finite number")
        return scaled_by_range(value_HW)
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        black = Image.new("RGB", image.size)
        black.paste(coloured, mask=coloured.getchannel("A"))
        return black.convert("L") if image.mode in ("L", "LA", "La") else black
    return image.convert("L" if image.mode == "1" else "RGB")


def scaled_by_range(value_HWC: Array, known_HW: Array | None = None) -> Image.Image:
    """Greys (H, W) or colours (H, W, 3) in 8 bits: the lowest value is black, the highest white, all colours alike.

    What is not finite, or not `known`, has no part in the range and is black.
    """
    known_HWC = np.isfinite(value_HWC)
    if known_HW is not None:
        known_HWC &= known_HW.reshape(known_HW.shape + (1,) * (value_HWC.ndim - 2))
    low, high = (value_HWC[known_HWC].min(), value_HWC[known_HWC].max()) if known_HWC.any() else (0.0, 0.0)
    scaled_HWC = (np.where(known_HWC, value_HWC, low) - low) * (255.0 / (high - low) if high > low else 0.0)
    return Image.fromarray(np.rint(scaled_HWC).astype(np.uint8))
