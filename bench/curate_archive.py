"""A synthetic archive in BIOMEDICA's WebDataset layout, made as fast as a disk takes it; for `bench/curate.py`.

A pool of JPEGs of about BYTES is drawn once, with a restart marker after each band of blocks. Bands can be put into
another order without being encoded anew, so every record has a picture, a perceptual hash and bytes of its own.
Captions, labels, licences and articles vary.
"""

import io
import json
import math
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

POOL, SIDE, BYTES = 256, 384, 50_000
QUALITIES = (60, 70, 80, 85, 90)
TAR_RECORDS = 1_000  # at most
FEWEST_TARS = 4  # of the smallest size, so that two processes have something to share
REPEATED = 20  # one record in so many repeats an earlier one: by turns as it is, and its picture with other words
FIGURES = 4  # an article
LABELS = (["ultrasound"], ["computerized tomography"], ["magnetic resonance"], ["light microscopy"], ["patient photo"])
LICENCES = ("CC BY", "CC BY-NC", "CC0", "CC BY-NC-ND")
NAMED = ("Axial CT scan", "Sagittal T2-weighted MRI", "B-mode ultrasound image", "H&E stained section", "Photograph")
SENTENCE = "shows a large hypodense lesion of the liver with rim enhancement after contrast in a patient with fever"
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")  # inside coded data 0xff is always followed by 0x00, so this is a marker


@dataclass(frozen=True)
class Picture:
    """A JPEG in pieces: what stands before its coded data, and the bands of it."""

    head: bytes
    bands: Sequence[bytes]

    def shuffled(self, rng: np.random.Generator) -> bytes:
        """A JPEG of the same bands in another order; all but the last, which may be cut by the picture's edge."""
        order = [*rng.permutation(len(self.bands) - 1), len(self.bands) - 1]
        marked = (self.bands[k] + bytes([0xFF, 0xD0 + place % 8]) for place, k in enumerate(order[:-1]))
        return b"".join([self.head, *marked, self.bands[order[-1]], b"\xff\xd9"])


def pool(rng: np.random.Generator, count: int = POOL) -> list[Picture]:
    """JPEGs of about BYTES each: a smooth picture with noise, as much as makes the size."""
    return [_in_pieces(_encoded(rng)) for _ in range(count)]


def tar_records(sizes: Sequence[int]) -> int:
    """Records a tar, so that every size is a whole number of tars."""
    common, most = math.gcd(*sizes), max(1, min(TAR_RECORDS, min(sizes) // FEWEST_TARS))
    return next(number for number in range(most, 0, -1) if common % number == 0)


def write_archive(folder: Path, records: int, per_tar: int, pictures: Sequence[Picture]) -> None:
    folder.mkdir(parents=True)
    for first in range(0, records, per_tar):
        with tarfile.open(folder / f"{first // per_tar:06d}.tar", "w") as tar:
            for name, content in members(range(first, min(first + per_tar, records)), pictures):
                header = tarfile.TarInfo(name)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))


def prefix(archive: Path, records: int, per_tar: int, folder: Path) -> Path:
    """A folder of the archive's first records, without a copy."""
    folder.mkdir(parents=True)
    for tar in sorted(archive.iterdir())[: records // per_tar]:
        os.link(tar, folder / tar.name)
    return folder


def members(records: range, pictures: Sequence[Picture]) -> Iterator[tuple[str, bytes]]:
    for number in records:
        again = number % REPEATED == REPEATED - 1
        shown = number - REPEATED // 2 if again else number
        told = shown if again and number // REPEATED % 2 else number
        caption = _caption(told)
        meta = {
            "caption": caption,
            "image_secondary_label": LABELS[number % len(LABELS)],
            "image_primary_label": ["Clinical Imaging"],
            "article_accession_id": f"PMC{number // FIGURES}",
            "article_license": LICENCES[number // FIGURES % len(LICENCES)],
            "article_abstract": " ".join([SENTENCE] * 20),
        }
        yield f"{number:08d}.jpg", pictures[shown % len(pictures)].shuffled(np.random.default_rng([shown, 0]))
        yield f"{number:08d}.json", json.dumps(meta).encode()
        yield f"{number:08d}.txt", caption.encode()


def _caption(number: int) -> str:
    words = np.random.default_rng([number, 1]).permutation(SENTENCE.split())
    return f"Figure {number % 9}. {NAMED[number % len(NAMED)]} {' '.join(words)} (case {number})."


def _encoded(rng: np.random.Generator) -> bytes:
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
    smooth_HW3 = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)
    noisy = Image.fromarray(np.clip(smooth_HW3 + rng.normal(0, 14, smooth_HW3.shape), 0, 255).astype(np.uint8))
    found = []
    for quality in QUALITIES:
        buffer = io.BytesIO()
        noisy.save(buffer, "JPEG", quality=quality, restart_marker_rows=1)
        found.append(buffer.getvalue())
    return min(found, key=lambda data: abs(len(data) - BYTES))


def _in_pieces(jpeg: bytes) -> Picture:
    scan = jpeg.index(b"\xff\xda")  # the marker before the coded data; its own length follows
    begin = scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big")
    return Picture(jpeg[:begin], _RESTART.split(jpeg[begin:-2]))
