"""Seconds and memory of ranking every pair among all of a large gallery, both directions.

    python bench/retrieval.py [--pairs 100000] [--dim 512] [--queries 2000]

Writes bench/results/retrieval.json. The gallery is whole; of the queries only the first few blocks are ranked, each
block as `best_positive_ranks` cuts them, and the time for all of them is projected (every block does the same work).
Memory does not depend on how many blocks there are, so the peak of the process is that of the full size. A tenth of the
captions stand twice. A small gallery is ranked against a sort by the definition first.
"""

import argparse
import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when NumPy is imported

import numpy as np

from mmkd.evaluation.tasks.retrieval import BLOCK_CELLS, best_positive_ranks
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import versions
from mmkd.progress import say
from mmkd.statistics.metrics import Array

RESULT = Path(__file__).parent / "results" / "retrieval.json"
AIM_MB = 4096


def pairs(count: int, dim: int) -> tuple[Array, Array, Array]:
    """Unit vectors of images and texts, (N, D) float32, that resemble each other, and the keys of the captions."""
    rng = np.random.default_rng(0)
    image_ND = rng.standard_normal((count, dim), dtype=np.float32)
    text_ND = rng.standard_normal((count, dim), dtype=np.float32)
    text_ND += image_ND
    for value_ND in (image_ND, text_ND):
        value_ND /= np.linalg.norm(value_ND, axis=1, keepdims=True)
    key_N = np.arange(count)
    key_N[-(count // 10) :] = key_N[: count // 10]
    return image_ND, text_ND, key_N


def disagreements(count: int, dim: int) -> int:
    """Ranks that differ from those of sorting the negatives and the best positive."""
    image_ND, text_ND, key_N = pairs(count, dim)
    score_NN = image_ND @ text_ND.T
    positive_NN = key_N[:, None] == key_N
    best_N = np.where(positive_NN, score_NN, -np.inf).max(axis=1)
    negatives = [np.sort(row_N[~own_N]) for row_N, own_N in zip(score_NN, positive_NN, strict=True)]
    above_N = [len(row) - np.searchsorted(row, best, "right") for row, best in zip(negatives, best_N, strict=True)]
    return int(np.count_nonzero(best_positive_ranks(image_ND, text_ND, key_N) != np.array(above_N) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=2000, help="of each direction; the rest is projected")
    options = parser.parse_args()
    wrong = disagreements(2000, 64)
    image_ND, text_ND, key_N = pairs(options.pairs, options.dim)
    asked = min(options.queries, options.pairs)
    begin = time.perf_counter()
    ranks = [
        best_positive_ranks(query_ND, gallery_ND, key_N, queries=asked)
        for query_ND, gallery_ND in ((image_ND, text_ND), (text_ND, image_ND))
    ]
    seconds = time.perf_counter() - begin
    projected = seconds * options.pairs / asked
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result: dict[str, Any] = {
        "seconds": round(seconds, 2),
        "queries": asked,
        "projected_seconds": round(projected, 1),
        "gflop_per_s": round(4 * asked * options.pairs * options.dim / seconds / 1e9, 1),
        "peak_mb": round(peak_mb),
        "aim_mb": AIM_MB,
        "block_queries": max(1, BLOCK_CELLS // options.pairs),
        "recall@1": [round(float((rank_N == 1).mean()), 4) for rank_N in ranks],
        "ranks_that_differ_from_a_sort": wrong,
        "options": vars(options),
        "threads": os.environ["OMP_NUM_THREADS"],
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "versions": versions() | {"numpy": np.__version__},
    }
    write_json(RESULT, result)
    say(
        f"{options.pairs:,} x {options.pairs:,} pairs, {options.dim} dimensions: {seconds:.1f} s for {asked:,} queries "
        f"both ways, projected {projected:.0f} s for all; peak {peak_mb:.0f} MB (aim {AIM_MB}); see {RESULT}"
    )


if __name__ == "__main__":
    main()
