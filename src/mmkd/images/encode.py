"""Pictures as encoded bytes."""

import io

from PIL import Image


def png(image: Image.Image, compress_level: int = 6) -> bytes:
    """The picture without loss. compress_level: 1 is fast, 9 is small."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=compress_level)
    return buffer.getvalue()
