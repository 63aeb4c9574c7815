"""What the leakage audit and decontamination cost, and what their radii let through and miss.

`python bench/leakage.py [REALDATA]`: hashes a second, the look-up of 10,000 pictures in eight views among 100,000
hashes of a corpus; with a folder of real test material also how many pictures lie within each radius of a picture of
another modality (no copies), and how many of the copies that were stored with loss, made smaller, or cropped lie beyond
it; and how many of changed copies decontamination and `[curate.duplicates]` find, by hashes alone and where thumbnails
confirm them, and how many pairs of pictures that are there anyway they would take for copies.

`python bench/leakage.py --records`: the look-up of 10,000 pictures in eight views among a million records of a corpus.
"""

import io
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from mmkd.curation.decontaminate import EvaluationImages, contaminated
from mmkd.curation.settings.curate import CurateSettings, DuplicateSettings
from mmkd.evaluation.leakage.hashes import VIEWS, view_hashes, view_pixels
from mmkd.images.hamming import within
from mmkd.images.thumbnails import (
    THUMBNAIL_PIXELS,
    correlation,
    perceptual_hash,
    small_grey,
    thumbnail_of,
    thumbnails_from,
)
from mmkd.statistics.metrics import Array

CORPUS, RECORDS, PICTURES, HASHED = 100_000, 1_000_000, 10_000, 300
RADII = (0, 2, 4, 6, 8, 10)  # distances are even: half of the bits of a hash are set
DRAWN = 2**16  # hashes made at once
CORRELATION = CurateSettings.model_fields["decontaminate_correlation"].default
REPEATED = DuplicateSettings()  # radius and correlation from which a picture repeats one of the same corpus
MODALITIES = ("CT", "Dermatology", "Endoscopy", "Fundus", "MRI", "OCT", "Pathology", "Ultrasound", "X-ray")


def balanced(count: int, rng: np.random.Generator, similar: float = 0.25) -> Array:
    """Hashes with 32 bits set, as medians make them; a share among few patterns, as pictures of one kind have."""
    base_64 = rng.random((50, 64))
    parts = [_balanced(min(DRAWN, count - first), base_64, similar, rng) for first in range(0, count, DRAWN)]
    return np.concatenate(parts)


def _balanced(count: int, base_64: Array, similar: float, rng: np.random.Generator) -> Array:
    bit_N64 = np.zeros((count, 64), np.uint8)
    order_N64 = rng.random((count, 64))
    similar_N = rng.random(count) < similar
    order_N64[similar_N] = base_64[rng.integers(50, size=similar_N.sum())] + 0.3 * order_N64[similar_N]
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


def records() -> None:
    """Thumbnails of noise, so that nothing is confirmed and every candidate is asked about."""
    rng = np.random.default_rng(0)
    hash_N, view_MV = balanced(RECORDS, rng), balanced(PICTURES * len(VIEWS), rng).reshape(PICTURES, -1)
    noise_K = rng.integers(0, 256, (2**16, THUMBNAIL_PIXELS), np.uint8)
    held_out = EvaluationImages([""] * PICTURES, [], view_MV, noise_K[:PICTURES], list(VIEWS), view_pixels())
    asked = 0

    def thumbnails(places: Array) -> Array:
        nonlocal asked
        asked += len(places)
        shown_K: Array = noise_K[places % len(noise_K)]
        return shown_K

    for radius in (4, 6, 8):
        asked, start = 0, time.perf_counter()
        contaminated(hash_N, thumbnails, held_out, radius, CORRELATION)
        spent, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"radius {radius}: {RECORDS:,} records, {view_MV.size:,} views: {spent:.1f} s, {asked:,} thumbnails", end=""
        )
        print(f", {peak:,.0f} MB")


def confirmation(realdata: Path) -> None:
    rows = [json.loads(line) for line in (realdata / "pairs" / "pairs.jsonl").read_text().splitlines()]
    images = [Image.open(realdata / "pairs" / row["image"]).convert("RGB") for row in rows]
    hash_N, thumbnail_NK = seen(images)
    print(f"\nfound of {len(rows)} changed copies, in %: by hash alone, by correlation too")
    ways = [(radius, CORRELATION) for radius in (4, 6, 8)] + [(REPEATED.radius, REPEATED.correlation)]
    print(" " * 16, "   ".join(f"{radius} bits, {least}" for radius, least in ways))
    for name, change in (COPIES | CHANGES).items():
        copy_N, copy_NK = seen([change(image) for image in images])
        distance_N, correlation_N = np.bitwise_count(hash_N ^ copy_N), correlation(thumbnail_NK, copy_NK)
        found = [(distance_N <= radius, (distance_N <= radius) & (correlation_N >= least)) for radius, least in ways]
        print(f"{name:16}", "   ".join(f"{100 * a.mean():5.1f} {100 * b.mean():5.1f}" for a, b in found))
    wider = (*RADII, RADII[-1] + 2)
    pairs = within(hash_N, hash_N, wider[-1])
    once_P = pairs.query_P < pairs.key_P
    correlation_P = correlation(thumbnail_NK[pairs.query_P[once_P]], thumbnail_NK[pairs.key_P[once_P]])
    print("pairs of two of the pictures themselves: within bits, and at least as alike")
    for radius in wider:
        near_P = pairs.distance_P[once_P] <= radius
        likes = "  ".join(
            f"{least}: {(near_P & (correlation_P >= least)).sum():4}" for least in (0.9, 0.96, 0.98, 0.99)
        )
        print(f"{radius:6}  {near_P.sum():6}  {likes}")


def seen(images: list[Image.Image]) -> tuple[Array, Array]:
    small = [small_grey(image) for image in images]
    hash_N = np.array([perceptual_hash(one) for one in small], np.uint64)
    return hash_N, thumbnails_from([thumbnail_of(one) for one in small])


def lettered(image: Image.Image) -> Image.Image:
    copy, height = image.copy(), max(8, image.height // 14)
    ImageDraw.Draw(copy).text((image.width // 20, image.height // 20), "R 12:03", (255, 255, 255), font_size=height)
    return copy


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

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "sharpened": lambda image: image.filter(ImageFilter.UnsharpMask(3, 200, 0)),
    "gamma 0.7": lambda image: image.point(lambda level: round(255 * (level / 255) ** 0.7)),
    "gamma 1.4": lambda image: image.point(lambda level: round(255 * (level / 255) ** 1.4)),
    "more contrast": lambda image: ImageOps.autocontrast(image, 2),
    "equalised": ImageOps.equalize,
    "letters": lettered,
}


if __name__ == "__main__":
    if sys.argv[1:] == ["--records"]:
        records()
    else:
        speed()
        for folder in map(Path, sys.argv[1:]):
            radii(folder)
            confirmation(folder)
