"""Search among many vectors: an archive, exact and with its index, beside faiss (flat, HNSW, IVF) and NumPy.

    python bench/search.py [--rows 1000000] [--dim 512] [--queries 100] [--engines "mmkd, index" NumPy ...]

Prints two tables and writes bench/results/search.json. The vectors are made by a seed (bench/search_data.py): unit
length, in clusters of Zipf sizes around a common mean, with a spectrum that falls as a power, and the queries by text
from another mean than the images, as those of CLIP models are. Each engine is built in one process and searched, one
query at a time, in a fresh one; memory is the peak of each; all use the same cores. HNSW: M 32, ef_construction 80;
IVF: the square root of the rows as partitions. Their effort (ef, partitions looked at) is the least of a ladder that
reaches a recall@10 of .99 for other queries of both kinds, while they are built; the archive chooses its own. The
second table is of the archive with conditions; a patient left out is that of the best hit and has 20 rows.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from search_data import CONDITIONS, KINDS, TOP, make
from search_engines import ENGINES, recall

from mmkd.folders.atomic import write_json
from mmkd.statistics.metrics import Array

RESULT = Path(__file__).parent / "results" / "search.json"
NO_CONDITION = "mmkd, index"


def resources() -> dict[str, float]:
    """Peak memory as of this program: `getrusage` counts what the process had before it, too."""
    [peak] = [text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM")]
    return {"cpu_s": cpu_s(), "peak_mb": int(peak.split()[1]) / 1024}


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def build_one(engine: str, folder: Path) -> dict[str, Any]:
    start = time.perf_counter()
    ENGINES[engine][0](folder)
    return {"build_s": time.perf_counter() - start, **resources()}


def search_one(engine: str, folder: Path) -> dict[str, Any]:
    """Times of single queries, and the share of the exact hits that are found."""
    start = time.perf_counter()
    find = ENGINES[engine][1](folder)
    queries = {kind: np.load(folder / f"{kind}.npy") for kind in KINDS}
    find(queries["picture"][0])
    first_s = time.perf_counter() - start
    measured = timed(find, [(query_D,) for query_QD in queries.values() for query_D in query_QD])
    place_QK, found = measured.pop("places"), {"first_s": first_s, **measured, **resources()}
    vector_ND = np.load(folder / "vectors.npy", mmap_mode="r")
    for kind, part_QK in zip(KINDS, np.split(place_QK, len(KINDS)), strict=True):
        best_QK = np.load(folder / f"{kind}_best.npy")
        found[f"recall_{kind}"] = recall(vector_ND, queries[kind], best_QK, part_QK)
    return found


def timed(find: Callable[..., Array], asked: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    seconds, places, before = [], [], cpu_s()
    for arguments in asked:
        start = time.perf_counter()
        places.append(find(*arguments))
        seconds.append(time.perf_counter() - start)
    p50, p99 = np.percentile(np.array(seconds) * 1e3, (50, 99))
    cpu_ms = (cpu_s() - before) / len(seconds) * 1e3
    return {"p50_ms": float(p50), "p99_ms": float(p99), "cpu_ms": cpu_ms, "places": np.array(places)}


def conditions(engine: str, folder: Path) -> dict[str, Any]:
    """The archive with conditions: times, and the share of the exact hits that are found."""
    from mmkd.archive.archive import Archive

    archive, vector_ND = Archive.open(folder / "archive"), np.load(folder / "vectors.npy", mmap_mode="r")

    def find(query_D: Array, where: str, patient: str) -> Array:
        return np.array([int(hit.id) for hit in archive.search(query_D, TOP, where, patient)])

    found: dict[str, Any] = {}
    for kind in KINDS:
        query_QD = np.load(folder / f"{kind}.npy")
        patients = [f"p{patient}" for patient in np.load(folder / f"{kind}_patient.npy")]
        cases = {"others": [("", patient) for patient in patients]}
        cases |= {name: [(where, "")] * len(query_QD) for name, (where, _, _) in CONDITIONS.items()}
        for name, asked in cases.items():
            find(query_QD[0], *asked[0])
            measured = timed(find, [(query_D, *one) for query_D, one in zip(query_QD, asked, strict=True)])
            shares = recall(vector_ND, query_QD, np.load(folder / f"{kind}_{name}.npy"), measured.pop("places"))
            found[f"{kind}, {name}"] = {**measured, "recall": shares}
    return {"conditions": found, **resources()}


def apart(phase: str, engine: str, folder: Path) -> dict[str, Any]:
    """What the last lines of a fresh process say, together."""
    command = [sys.executable, __file__, "--one", phase, engine, str(folder)]
    threads = {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | threads)
    return {
        key: value for line in done.stdout.splitlines() if line[:1] == "{" for key, value in json.loads(line).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=100, help="of each kind")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), metavar="ENGINE")
    parser.add_argument("--one", nargs=3, metavar=("PHASE", "ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        phase, engine, place = asked.one
        print(json.dumps({"build": build_one, "search": search_one, "where": conditions}[phase](engine, Path(place))))
        return
    cores = len(os.sched_getaffinity(0))
    found: dict[str, Any] = {"rows": asked.rows, "dim": asked.dim, "cores": cores, "engines": {}}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make(folder, asked.rows, asked.dim, asked.queries)
        print(f"{asked.rows:,} x {asked.dim}, {cores} cores\n\n{HEADS}", flush=True)
        for engine in asked.engines:
            built, searched = apart("build", engine, folder), apart("search", engine, folder)
            found["engines"][engine] = {"build": built, "search": searched}
            print(line(engine, built, searched), flush=True)
            if engine == NO_CONDITION:
                found["where"] = apart("where", engine, folder)
            write_json(RESULT, found)
    if NO_CONDITION not in asked.engines:
        return
    print(f"\n{CONDITION_HEADS}\n" + "\n".join(condition_lines(found["where"]["conditions"])))
    print(f"\nthe archive chose {json.dumps(found['engines'][NO_CONDITION]['build']['notes'])}")


HEADS = (
    "| engine | effort | build s | cpu s | MB | first query s | p50 ms | p99 ms | cpu ms | recall@10 picture | text "
    "| MB |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)
CONDITION_HEADS = "| query, rows | p50 ms | p99 ms | cpu ms | recall@10 |\n|---|---:|---:|---:|---:|"


def line(engine: str, built: dict[str, Any], searched: dict[str, Any]) -> str:
    return (
        f"| {engine} | {built.get('effort', '')} | {built['build_s']:.1f} | {built['cpu_s']:.1f} | "
        f"{built['peak_mb']:,.0f} | {searched['first_s']:.1f} | {searched['p50_ms']:.1f} | {searched['p99_ms']:.1f} | "
        f"{searched['cpu_ms']:.1f} | {searched['recall_picture']:.3f} | {searched['recall_text']:.3f} | "
        f"{searched['peak_mb']:,.0f} |"
    )


def condition_lines(found: dict[str, Any]) -> list[str]:
    return [
        f"| {name} | {one['p50_ms']:.1f} | {one['p99_ms']:.1f} | {one['cpu_ms']:.1f} | {one['recall']:.3f} |"
        for name, one in found.items()
    ]


if __name__ == "__main__":
    main()
