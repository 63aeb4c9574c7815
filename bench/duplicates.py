"""What finding duplicates among many records costs: time and memory of each rule, with and without thumbnails.

    python bench/duplicates.py [--records 1000000] [--worlds crowded full film]

Every rule in a fresh process of one thread; the time is processor time. One record in twenty repeats an earlier one's
hash, thumbnail and caption but not its bytes. Of the other records,

random: the hashes are coin flips.
crowded: one in four is of fifty kinds, whose hashes are near each other while their thumbnails are noise. Hashes alone
    would merge them, and most thumbnails are read.
full: all are of these kinds.
film: all are frames of fifty films: near hashes, and thumbnails that differ by one grey level in a few pixels.

Near hashes: pairs that were found by their hashes. Correlations: pairs of which the whole thumbnails were compared.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from leakage import balanced

from mmkd.curation.duplicates import NONE, Keys, find_duplicates
from mmkd.curation.settings.curate import DuplicateSettings
from mmkd.images import near_duplicates
from mmkd.images.hamming import Array
from mmkd.images.thumbnails import THUMBNAIL_PIXELS

REPEATED, CAPTIONS = 0.05, 0.5  # of the records: those that repeat one, and the captions among them
FILMS, CHANGED = 50, 4  # pixels of a frame that differ from the film
RULES = (("keep", 0.0), ("pair", 0.98), ("drop", 0.0), ("drop", 0.98))
SIMILAR = {"random": 0.0, "crowded": 0.25, "full": 1.0, "film": 1.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--worlds", nargs="+", choices=SIMILAR, default=["random", "crowded"])
    parser.add_argument("--rules", nargs="+", choices=["keep", "pair", "drop"], default=["keep", "pair", "drop"])
    parser.add_argument("--one", nargs=3, metavar=("WORLD", "NEAR", "CORRELATION"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        world, near, least = asked.one
        print(json.dumps(measure(world, DuplicateSettings(near=near, correlation=float(least)), asked.records)))
        return
    print(f"{asked.records:,} records\n")
    print("| hashes | near | correlation | s | dropped | thumbnails | near hashes | correlations | MB at most |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for world in asked.worlds:
        for near, least in RULES:
            if near in asked.rules:
                told = apart([world, near, str(least)], asked.records)
                print(f"| {world} | {near} | {least or '–'} | " + " | ".join(told.values()) + " |", flush=True)


def apart(rule: list[str], records: int) -> dict[str, str]:
    command = [sys.executable, str(Path(__file__)), "--records", str(records), "--one", *rule]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, str] = json.loads(done.stdout)
    return told


class World:
    """Columns of the records, and their thumbnails as they are asked for; counts what is looked at."""

    def __init__(self, kind: str, records: int) -> None:
        rng = np.random.default_rng(0)
        self.kind, self.asked, self.near, self.compared = kind, 0, 0, 0
        self._pool_RK = rng.integers(0, 256, (2**14, THUMBNAIL_PIXELS), np.uint8)
        hash_N = (
            rng.integers(0, 2**64, records, np.uint64) if kind == "random" else balanced(records, rng, SIMILAR[kind])
        )
        caption_N = rng.integers(0, int(CAPTIONS * records), records).astype(np.uint64)
        self._picture_N = np.arange(records)
        again_R = np.flatnonzero(rng.random(records) < REPEATED)[1:]
        for column_N in (hash_N, caption_N, self._picture_N):
            column_N[again_R] = column_N[again_R // 2]
        number_N = np.arange(records, dtype=np.uint64)
        self.keys = Keys(number_N, number_N, hash_N, caption_N)

    def thumbnails(self, place_S: Array) -> Array:
        self.asked += len(place_S)
        picture_S = self._picture_N[place_S]
        if self.kind != "film":
            return np.asarray(self._pool_RK[picture_S % len(self._pool_RK)])
        thumbnail_SK = self._pool_RK[picture_S % FILMS]
        for change in range(CHANGED):
            pixel_S = (picture_S * (7919 + change) // FILMS) % THUMBNAIL_PIXELS
            thumbnail_SK[np.arange(len(place_S)), pixel_S] ^= 1
        return thumbnail_SK

    def count(self) -> None:
        """Counts what the search looks at from now on."""
        search = vars(near_duplicates)
        near, correlation = search["near"], search["correlation"]

        def counted_near(*given: Any) -> Iterator[Any]:
            for pairs in near(*given):
                self.near += len(pairs.query_P)
                yield pairs

        def counted_correlation(one_BK: Array, other_BK: Array) -> Array:
            self.compared += len(one_BK)
            found: Array = correlation(one_BK, other_BK)
            return found

        search |= {"near": counted_near, "correlation": counted_correlation}


def measure(kind: str, settings: DuplicateSettings, records: int) -> dict[str, str]:
    world = World(kind, records)
    world.count()
    start = time.process_time()
    found = find_duplicates(world.keys, settings, np.zeros(records, bool), world.thumbnails)
    took, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    counts = [int((found.partner_N != NONE).sum()), world.asked, world.near, world.compared]
    names = ("dropped", "thumbnails", "near", "compared")
    told = {name: f"{count:,}" for name, count in zip(names, counts, strict=True)}
    return {"s": f"{took:,.1f}", **told, "mb": f"{peak:,.0f}"}


if __name__ == "__main__":
    main()
