"""Slides made for tests: a tiled TIFF of a few stained squares on glass, that OpenSlide opens."""

import struct
from pathlib import Path

import numpy as np

from mmkd.statistics.metrics import Array

BLOCK = 256
GLASS, STAIN = (243, 242, 244), (190, 90, 160)


def stained(height: int, width: int, boxes: list[tuple[int, int, int, int]]) -> Array:
    """Glass with stained boxes (left, top, right, bottom); uint8 (H, W, 3)."""
    pixel_HW3 = np.full((height, width, 3), GLASS, np.uint8)
    for left, top, right, bottom in boxes:
        pixel_HW3[top:bottom, left:right] = STAIN
    return pixel_HW3


def write_tiled_tiff(path: Path, pixel_HW3: Array) -> Path:
    """One uncompressed level in blocks of 256 x 256, without a resolution."""
    height, width, _ = pixel_HW3.shape
    down, across = -(-height // BLOCK), -(-width // BLOCK)
    padded = np.zeros((down * BLOCK, across * BLOCK, 3), np.uint8)
    padded[:height, :width] = pixel_HW3
    blocks = padded.reshape(down, BLOCK, across, BLOCK, 3).transpose(0, 2, 1, 3, 4).tobytes()
    count, size = down * across, BLOCK * BLOCK * 3
    extra = 8 + len(blocks)  # where the values longer than four bytes stand
    offsets = struct.pack(f"<{count}I", *(8 + n * size for n in range(count)))
    sizes = struct.pack(f"<{count}I", *[size] * count)
    bits = struct.pack("<3H", 8, 8, 8)
    bits_at, offsets_at = extra, extra + 8
    sizes_at = offsets_at + len(offsets)
    short, long = 3, 4
    entries = [
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, 3, bits_at),
        (259, short, 1, 1),  # not compressed
        (262, short, 1, 2),  # RGB
        (277, short, 1, 3),
        (284, short, 1, 1),
        (322, short, 1, BLOCK),
        (323, short, 1, BLOCK),
        (324, long, count, offsets_at if count > 1 else 8),
        (325, long, count, sizes_at if count > 1 else size),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    head = struct.pack("<2sHI", b"II", 42, sizes_at + len(sizes))
    path.write_bytes(head + blocks + bits + bytes(2) + offsets + sizes + directory)
    return path
