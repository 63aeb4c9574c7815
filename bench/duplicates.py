"""What finding duplicates among many records costs: time and memory of each rule, with and without thumbnails.

    python bench/duplicates.py [--records 1000000]

Every rule in a fresh process of one thread. One record in twenty repeats an earlier one's hash, thumbnail and caption
but not its bytes. In the first world other hashes are random. In the crowded one, one picture in four is of few kinds,
whose hashes are near each other while their thumbnails are noise: hashes alone would merge them, and most thumbnails
are read.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from leakage import balanced

from mmkd.curation.selection import Keys, find_duplicates
from mmkd.curation.settings.curate import DuplicateSettings
from mmkd.images.hamming import Array
from mmkd.images.near_duplicates import NONE
from mmkd.images.thumbnails import THUMBNAIL_PIXELS

REPEATED, CAPTIONS = 0.05, 0.5  # of the records: those that repeat one, and the captions among them
RULES = (("keep", 0.0), ("pair", 0.98), ("drop", 0.0), ("drop", 0.98))
WORLDS = ("random", "crowded")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--one", nargs=3, metavar=("WORLD", "NEAR", "CORRELATION"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        world, near, least = asked.one
        print(json.dumps(measure(world, DuplicateSettings(near=near, correlation=float(least)), asked.records)))
        return
    print(f"{asked.records:,} records\n\n| hashes | near | correlation | s | dropped | thumbnails | MB at most |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for world in WORLDS:
        for near, least in RULES:
            told = apart([world, near, str(least)], asked.records)
            print(f"| {world} | {near} | {least or '–'} | " + " | ".join(told.values()) + " |", flush=True)


def apart(rule: list[str], records: int) -> dict[str, str]:
    command = [sys.executable, str(Path(__file__)), "--records", str(records), "--one", *rule]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, str] = json.loads(done.stdout)
    return told


def measure(world: str, settings: DuplicateSettings, records: int) -> dict[str, str]:
    rng, asked = np.random.default_rng(0), 0
    pool_RK = rng.integers(0, 256, (2**14, THUMBNAIL_PIXELS), np.uint8)
    hash_N = balanced(records, rng) if world == "crowded" else rng.integers(0, 2**64, records, np.uint64)
    caption_N, thumbnail_N = rng.integers(0, int(CAPTIONS * records), records).astype(np.uint64), np.arange(records)
    again_R = np.flatnonzero(rng.random(records) < REPEATED)[1:]
    for column_N in (hash_N, caption_N, thumbnail_N):
        column_N[again_R] = column_N[again_R // 2]

    def thumbnails(place_S: Array) -> Array:
        nonlocal asked
        asked += len(place_S)
        thumbnail_SK: Array = pool_RK[thumbnail_N[place_S] % len(pool_RK)]
        return thumbnail_SK

    number_N = np.arange(records, dtype=np.uint64)
    start = time.perf_counter()
    found = find_duplicates(Keys(number_N, number_N, hash_N, caption_N), settings, np.zeros(records, bool), thumbnails)
    took, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    dropped = int((found.partner_N != NONE).sum())
    return {"s": f"{took:,.1f}", "dropped": f"{dropped:,}", "thumbnails": f"{asked:,}", "mb": f"{peak:,.0f}"}


if __name__ == "__main__":
    main()
