"""Pictures of any pixel format as 8-bit grey or RGB; H x W pixels."""

import numpy as np
from PIL import Image


def plain(image: Image.Image) -> Image.Image:
    """8-bit grey ("L") or RGB. Wider greys are scaled by their own range to 0..255, alpha is flattened on black."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return _grey_by_range(np.asarray(image, np.float64))
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        black = Image.new("RGB", image.size)
        black.paste(coloured, mask=coloured.getchannel("A"))
        return black.convert("L") if image.mode in ("L", "LA", "La") else black
    return image.convert("L" if image.mode == "1" else "RGB")


def _grey_by_range(values_HW: np.ndarray) -> Image.Image:
    known = np.isfinite(values_HW)
    low, high = (values_HW[known].min(), values_HW[known].max()) if known.any() else (0.0, 0.0)
    scaled = (np.where(known, values_HW, low) - low) * (255.0 / (high - low) if high > low else 0.0)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))
