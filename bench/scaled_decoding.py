"""What scaled JPEG decoding and a coarse first step of the resize would save in curation, and what they would change.

    python bench/scaled_decoding.py FOLDER [--most 400]

Reads the JPEGs of at least 200 pixels below FOLDER, evenly among all. For the small grey picture (32 x 32, of which
hash and thumbnail are made) and for a picture stored at a long side of 512 pixels (those that are larger), each way is
compared with the one that curation takes: decoded in full, resized by Lanczos in one step. draft k: libjpeg-turbo
decodes at 1/2, 1/4 or 1/8, with at least k times the size that is asked for; gap g: Pillow's reducing_gap. Processor
seconds are those of decoding and resizing; differences are in grey levels: the largest of a picture as the median over
pictures and as the largest, and the share of pictures of which no pixel differs by more than one.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mmkd.images.thumbnails import HASH_SIDE, perceptual_hash

LEAST, STORED = 200, 512  # pixels of a side
Way = Callable[[bytes, int], Image.Image]
"""A file and the long side that is asked for -> the picture."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int, default=400)
    asked = parser.parse_args()
    files = [path.read_bytes() for path in sorted(asked.folder.rglob("*.jp*g"))]
    files = [data for data in files if min(_size(data)) >= LEAST]
    files = [files[place] for place in np.linspace(0, len(files) - 1, min(asked.most, len(files))).astype(int)]
    large = [data for data in files if max(_size(data)) > STORED]
    print(f"{len(files)} JPEGs, {len(large)} of them larger than {STORED} pixels\n")
    print("| picture | way | s | median | largest | within 1 | hash bits changed, mean |")
    print("|---|---|---:|---:|---:|---:|---:|")
    sizes = [(f"grey {HASH_SIDE} x {HASH_SIDE}", files, HASH_SIDE), (f"{STORED}", large, STORED)]
    for what, some, side in sizes[: 1 + bool(large)]:
        grey = side == HASH_SIDE
        wanted, took = _all(some, side, resized(None, None, grey))
        print(f"| {what} | full | {took:.2f} | – | – | – | – |")
        for draft, gap in ((2, None), (4, None), (8, None), (None, 2.0), (None, 3.0), (4, 3.0)):
            found, took = _all(some, side, resized(draft, gap, grey))
            print(f"| {what} | {_named(draft, gap)} | {took:.2f} | " + " | ".join(_differences(wanted, found)) + " |")


def resized(draft: int | None, gap: float | None, grey: bool) -> Way:
    """grey: to a square of grey pixels; else in its own proportion."""

    def way(data: bytes, side: int) -> Image.Image:
        opened = Image.open(io.BytesIO(data))
        width, height = opened.size
        scale = side / max(width, height)
        size = (side, side) if grey else (max(1, round(width * scale)), max(1, round(height * scale)))
        if draft is not None:
            opened.draft(None, (size[0] * draft, size[1] * draft))
        image = opened.convert("L" if grey else "RGB")
        return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=gap)

    return way


def _all(files: list[bytes], side: int, way: Way) -> tuple[list[Image.Image], float]:
    start = time.process_time()
    pictures = [way(data, side) for data in files]
    return pictures, time.process_time() - start


def _differences(wanted: list[Image.Image], found: list[Image.Image]) -> list[str]:
    pairs = list(zip(wanted, found, strict=True))
    most = [int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max()) for a, b in pairs]
    if not most:
        return ["–"] * 4
    bits = [(perceptual_hash(a) ^ perceptual_hash(b)).bit_count() for a, b in pairs]
    within = np.mean(np.array(most) <= 1)
    return [f"{np.median(most):.0f}", f"{max(most)}", f"{within:.1%}", f"{np.mean(bits):.2f}"]


def _named(draft: int | None, gap: float | None) -> str:
    return ", ".join(([] if draft is None else [f"draft {draft}"]) + ([] if gap is None else [f"gap {gap:g}"]))


def _size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size


if __name__ == "__main__":
    main()
