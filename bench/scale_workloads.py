"""The three loads of `bench/scale.py`: what is handed out, what one process does, and what limits them.

Each is made from figures (`scale_figures.json`) and the facts of a node. Sizes of tars and of data sets differ by a
seed: log-normal with a spread of .3 and of 1.2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scale_simulation import Work

RECORDS, TAR_RECORDS = 24_000_000, 10_000
PAIRS, SHARD_ROWS, TEACHERS = 2_900_000, 4096, 9
DATA_SETS, MODELS, PICTURES = 58, 10, 2_000
MILLION, GIGA, TERA = 1e6, 1e9, 1e12
Figures = Mapping[str, float]


@dataclass(frozen=True)
class Node:
    """One machine. tflops: that a GPU sustains. disk_gb_s: of the file system, for all nodes together."""

    cores: int = 64
    gpus: int = 8
    memory_gb: float = 512.0
    tflops: float = 300.0
    disk_gb_s: float = 2.0


@dataclass(frozen=True)
class Load:
    """work: what is handed out, to `workers` of a node. serial: steps that one process does, seconds by name.

    read_bytes: that all units read. memory_gb: of each step, by name; "" for that of a node's workers.
    mended: what was done about each limit.
    """

    name: str
    work: Work
    workers: int
    serial: Mapping[str, float]
    read_bytes: float
    memory_gb: Mapping[str, float]
    mended: Mapping[str, str]


def curation(figures: Figures, node: Node) -> Load:
    """Tars of a public archive, one at a time on a core; then duplicates, corpus and ledger in one process."""
    tars = RECORDS // TAR_RECORDS
    records_U = _sizes(tars, 0.3, 0) * TAR_RECORDS
    near_s = figures["near_s"] * (RECORDS / MILLION) ** figures["near_power"]
    return Load(
        f"{RECORDS:,} records",
        Work(records_U * figures["curate_s"], np.zeros(tars, int), 0.0, figures["handout_s"]),
        node.cores,
        {"near duplicates": near_s, "select, write, ledger": RECORDS * figures["curate_serial_s"]},
        RECORDS * figures["record_bytes"],
        {
            "": node.cores * figures["curate_mb"] / 2 / 1e3,  # measured with two workers
            "near duplicates": RECORDS * figures["near_bytes"] / GIGA,
        },
        {
            "memory": "near pairs are confirmed while they are found, so memory no longer grows with their number",
            "reading": "`cache_shards`: another curation reads what passed, not the archive",
            "serial": "near duplicates take N^1.2 in place of N^2; writing is still one process",
            "hand-out": "the unit is a tar; smaller tars help, more nodes do not",
        },
    )


def extraction(figures: Figures, node: Node) -> Load:
    """Shards with all teachers resident, one at a time on a GPU, whose share of the cores decodes."""
    shards = -(-PAIRS // SHARD_ROWS)
    pair_s = max(
        figures["extract_gflop"] * GIGA / (node.tflops * TERA), figures["decode_s"] * node.gpus / max(node.cores, 1)
    )
    rows_U = np.full(shards, float(SHARD_ROWS))
    rows_U[-1] = PAIRS - SHARD_ROWS * (shards - 1)
    once = PAIRS * TEACHERS
    return Load(
        f"{PAIRS:,} pairs x {TEACHERS} teachers",
        Work(rows_U * pair_s, np.zeros(shards, int), TEACHERS * figures["load_s"], figures["handout_s"]),
        node.gpus,
        {"posterior of captions": once * figures["posterior_s"], "gate": once * figures["gate_s"]},
        PAIRS * figures["record_bytes"],
        {
            "numbers of captions and pictures": PAIRS * figures["codes_bytes"] / GIGA,
            "features, mapped": PAIRS * figures["extract_bytes"] / GIGA,
        },
        {
            "memory": "features are read in blocks and mapped; rank 0 writes the numbers once, the others map them",
            "reading": "each picture is read and decoded once for all resident teachers",
            "serial": "both are worked out once, in blocks against 1,024 pairs, and stored; before, every rank did it "
            "at every start",
            "hand-out": "a worker loads all teachers once and keeps them; the unit is a shard of 4,096 pairs, and "
            "`[extract] shard_rows` makes smaller ones",
        },
    )


def evaluation(figures: Figures, node: Node) -> Load:
    """A model on a data set, one at a time on a GPU; then the results of each data set in one process."""
    pictures_D = _sizes(DATA_SETS, 1.2, 1) * PICTURES
    picture_s = max(
        figures["picture_gflop"] * GIGA / (node.tflops * TERA), figures["decode_s"] * node.gpus / max(node.cores, 1)
    )
    seconds_U = np.tile(pictures_D * picture_s + figures["results_s"], MODELS)
    return Load(
        f"{DATA_SETS} data sets x {MODELS} models",
        Work(seconds_U, np.repeat(np.arange(MODELS), DATA_SETS), figures["load_s"], figures["handout_s"]),
        node.gpus,
        {"joint results": DATA_SETS * figures["results_serial_s"]},
        float(pictures_D.sum()) * MODELS * figures["record_bytes"],
        {},
        {
            "memory": "predictions are files, and results read one data set at a time",
            "reading": "nothing: pictures are read once a model",
            "serial": "replicates are compared once for all, and handed out in blocks, which is not simulated here",
            "hand-out": "the largest data set is one unit a model; the longest units are handed out first",
        },
    )


def _sizes(count: int, spread: float, seed: int) -> np.ndarray:
    """Log-normal, of median 1 (count,)."""
    return np.exp(np.random.default_rng(seed).normal(0.0, spread, count))


LOADS: dict[str, Callable[[Figures, Node], Load]] = {
    "curation": curation,
    "extraction": extraction,
    "evaluation": evaluation,
}
