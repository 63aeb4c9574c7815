"""What the leakage audit costs, and what its radius lets through and misses.

`python bench/leakage.py [REALDATA]`: hashes a second, the look-up of 10,000 pictures in eight views among 100,000
hashes of a corpus; with a folder of real test material also how many pictures lie within each radius of a picture of
another modality (no copies), and how many of the copies that were stored with loss, made smaller, or cropped lie beyond
it.
"""

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mmkd.corpus.hamming import within
from mmkd.evaluation.leakage.hashes import VIEWS, view_hashes
from mmkd.evaluation.statistics.metrics import Array

CORPUS, PICTURES, HASHED = 100_000, 10_000, 300
RADII = (0, 2, 4, 6, 8, 10)  # distances are even: half of the bits of a hash are set
MODALITIES = ("CT", "Dermatology", "Endoscopy", "Fundus", "MRI", "OCT", "Pathology", "Ultrasound", "X-ray")


def balanced(count: int, rng: np.random.Generator) -> Array:
    """Hashes with 32 bits set, as medians make them; one in four among few patterns, as pictures of one kind have."""
    bit_N64 = np.zeros((count, 64), np.uint8)
    order_N64 = rng.random((count, 64))
    base_64 = rng.random((50, 64))
    alike_N = rng.random(count) < 0.25
    order_N64[alike_N] = base_64[rng.integers(50, size=alike_N.sum())] + 0.3 * order_N64[alike_N]
    np.put_along_axis(bit_N64, np.argsort(order_N64, axis=1)[:, :32], 1, axis=1)
    return np.packbits(bit_N64, axis=1).view(">u8")[:, 0].astype(np.uint64)


def speed() -> None:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (384, 384, 3), dtype=np.uint8)) for _ in range(HASHED)]
    start = time.perf_counter()
    for image in images:
        view_hashes(image)
    spent = time.perf_counter() - start
    print(f"hashing 384 x 384: {HASHED / spent:,.0f} pictures/s, {len(VIEWS) * HASHED / spent:,.0f} hashes/s, one core")
    key_K, query_Q = balanced(CORPUS, rng), balanced(PICTURES * len(VIEWS), rng)
    for radius in RADII:
        start = time.perf_counter()
        pairs = within(query_Q, key_K, radius)
        spent = time.perf_counter() - start
        print(
            f"radius {radius:2}: {len(query_Q):,} views x {CORPUS:,} hashes, {spent:6.2f} s, {len(pairs.key_P):,} pairs"
        )


def radii(realdata: Path) -> None:
    rows = [json.loads(line) for line in (realdata / "pairs" / "pairs.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["modality"] in MODALITIES]
    images = [Image.open(realdata / "pairs" / row["image"]).convert("RGB") for row in rows]
    modality_N = np.array([row["modality"] for row in rows])
    view_NV = np.stack([view_hashes(image) for image in images])
    distance_NN = np.min([np.bitwise_count(view_NV[:, v, None] ^ view_NV[:, 0]) for v in range(len(VIEWS))], axis=0)
    control_NN = modality_N[:, None] != modality_N
    nearest_N = np.where(control_NN, distance_NN, 64).min(axis=1)
    print(f"\n{len(rows)} pictures, {control_NN.sum():,} pairs of two modalities")
    print("radius  pairs of two modalities  pictures with one  missed: " + "  ".join(COPIES))
    copies = {
        name: np.array(
            [
                np.bitwise_count(view_hashes(make(image))[0] ^ views[0])
                for image, views in zip(images, view_NV, strict=True)
            ]
        )
        for name, make in COPIES.items()
    }
    for radius in RADII:
        missed = "  ".join(f"{(copies[name] > radius).mean():{len(name)}.1%}" for name in COPIES)
        within_it = np.count_nonzero(distance_NN[control_NN] <= radius)
        print(f"{radius:6}  {within_it:23}  {np.count_nonzero(nearest_N <= radius):17}          {missed}")


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    x, y = round(image.width * share), round(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 50": lambda image: jpeg(image, 50),
    "half size": lambda image: image.resize((max(1, image.width // 2), max(1, image.height // 2))),
    "224 square": lambda image: image.resize((224, 224)),
    "crop 1 % a side": lambda image: cropped(image, 0.01),
    "crop 3 % a side": lambda image: cropped(image, 0.03),
}


if __name__ == "__main__":
    speed()
    if len(sys.argv) > 1:
        radii(Path(sys.argv[1]))
