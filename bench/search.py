"""Search among many vectors: an archive, exact and with its index, beside faiss (flat, HNSW, IVF with SQ8) and NumPy.

    python bench/search.py [--rows 1000000] [--dim 512] [--queries 100]

Prints a table and writes bench/results/search.json. The vectors are made by a seed (bench/search_data.py): unit length,
in clusters of Zipf sizes around a common mean, with a spectrum that falls as a power, and the queries by text from
another mean than the images, as those of CLIP models are. Each engine is built in one process and searched, one query
at a time, in a fresh one, whose memory is given; all use the same cores. HNSW: M 32, ef_construction 80, ef 128; IVF:
4 x the square root of the rows as partitions, 1 in 16 looked at. The archive chooses its own settings.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from search_data import CHUNK, rows

from mmkd.folders.atomic import write_json
from mmkd.statistics.metrics import Array

RESULT = Path(__file__).parent / "results" / "search.json"
TOP, ROUNDING = 10, 1e-5
KINDS = ("picture", "text")
Find = Callable[[Array], Array]
"""A query (D,) -> places of its TOP nearest rows."""


def build_numpy(folder: Path) -> None: ...


def open_numpy(folder: Path) -> Find:
    vector_ND = np.load(folder / "vectors.npy")

    def find(query_D: Array) -> Array:
        score_N = vector_ND @ query_D
        return np.argpartition(-score_N, TOP)[:TOP]

    return find


def build_archive(folder: Path) -> None:
    from mmkd.archive.archive import Archive
    from mmkd.archive.rows import Facts, vectors_column

    vector_ND = np.load(folder / "vectors.npy", mmap_mode="r")
    archive = Archive.create(folder / "archive", Facts("none", "none", "0" * 64, vector_ND.shape[1]))
    archive.exact_rows = 0
    with archive.writing():
        for first in range(0, len(vector_ND), CHUNK):
            part_ND = vector_ND[first : first + CHUNK]
            names = [str(first + place) for place in range(len(part_ND))]
            captions = [f"caption {place}" for place in range(len(part_ND))]
            archive.add(pa.table({"id": names, "caption": captions, "vector": vectors_column(part_ND)}))
    text_QD = np.concatenate(list(rows(100, vector_ND.shape[1], 5, True, len(vector_ND))))
    start = time.perf_counter()
    archive.store.note({})
    notes = archive.finish(lambda texts: text_QD[: len(texts)])
    print(json.dumps({"index_s": time.perf_counter() - start, "notes": notes}))


def open_archive(folder: Path, exact: bool = False) -> Find:
    from mmkd.archive.archive import Archive

    archive = Archive.open(folder / "archive")
    return lambda query_D: np.array([int(hit.id) for hit in archive.search(query_D, TOP, exact=exact)])


def build_faiss(kind: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        import faiss

        vector_ND = np.load(folder / "vectors.npy")
        count, dim = vector_ND.shape
        name = {"flat": "Flat", "hnsw": "HNSW32", "ivf": f"IVF{int(4 * count**0.5)},SQ8"}[kind]
        index: Any = faiss.index_factory(dim, name, faiss.METRIC_INNER_PRODUCT)
        if kind == "hnsw":
            index.hnsw.efConstruction = 80
        index.train(vector_ND)
        index.add(vector_ND)
        faiss.write_index(index, str(folder / f"faiss_{kind}"))

    return build


def open_faiss(kind: str) -> Callable[[Path], Find]:
    def opened(folder: Path) -> Find:
        import faiss

        index: Any = faiss.read_index(str(folder / f"faiss_{kind}"))
        if kind == "hnsw":
            index.hnsw.efSearch = 128
        if kind == "ivf":
            index.nprobe = max(1, index.nlist // 16)
        return lambda query_D: index.search(query_D[None], TOP)[1][0]

    return opened


ENGINES: dict[str, tuple[Callable[[Path], None], Callable[[Path], Find]]] = {
    "mmkd, index": (build_archive, open_archive),
    "mmkd, exact": (build_numpy, lambda folder: open_archive(folder, exact=True)),
    "faiss flat": (build_faiss("flat"), open_faiss("flat")),
    "faiss HNSW": (build_faiss("hnsw"), open_faiss("hnsw")),
    "faiss IVF SQ8": (build_faiss("ivf"), open_faiss("ivf")),
    "NumPy": (build_numpy, open_numpy),
}


def resources() -> dict[str, float]:
    """Peak memory as of this program: `getrusage` counts what the process had before it, too."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    [peak] = [text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM")]
    return {"cpu_s": used.ru_utime + used.ru_stime, "peak_mb": int(peak.split()[1]) / 1024}


def build_one(engine: str, folder: Path) -> dict[str, Any]:
    start = time.perf_counter()
    ENGINES[engine][0](folder)
    return {"build_s": time.perf_counter() - start, **resources()}


def search_one(engine: str, folder: Path) -> dict[str, Any]:
    """Milliseconds of single queries, and the share of the exact hits that are found."""
    find, found = ENGINES[engine][1](folder), {}
    vector_ND, seconds = np.load(folder / "vectors.npy", mmap_mode="r"), []
    for kind in KINDS:
        query_QD, best_QK = np.load(folder / f"{kind}.npy"), np.load(folder / f"{kind}_best.npy")
        find(query_QD[0])
        shares = []
        for query_D, best_K in zip(query_QD, best_QK, strict=True):
            start = time.perf_counter()
            places = find(query_D)
            seconds.append(time.perf_counter() - start)
            shares.append(np.count_nonzero(vector_ND[np.sort(places)] @ query_D >= best_K[-1] - ROUNDING) / TOP)
        found[f"recall_{kind}"] = float(np.mean(shares))
    p50, p99 = np.percentile(np.array(seconds) * 1e3, (50, 99))
    return {"p50_ms": float(p50), "p99_ms": float(p99), **found, **resources()}


def make(folder: Path, count: int, dim: int, queries: int) -> None:
    """The vectors, the queries, and the cosines of the TOP nearest rows of each."""
    vector_ND = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (count, dim))
    for first, part_ND in zip(range(0, count, CHUNK), rows(count, dim, 0), strict=True):
        vector_ND[first : first + len(part_ND)] = part_ND
    for seed, kind in enumerate(KINDS, 2):
        query_QD = np.concatenate(list(rows(queries, dim, seed, kind == "text", count)))
        score_QN = np.concatenate([query_QD @ vector_ND[at : at + CHUNK].T for at in range(0, count, CHUNK)], axis=1)
        np.save(folder / f"{kind}.npy", query_QD)
        np.save(folder / f"{kind}_best.npy", -np.sort(np.partition(-score_QN, TOP - 1)[:, :TOP], axis=1))


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
    parser.add_argument("--one", nargs=3, metavar=("PHASE", "ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        phase, engine, place = asked.one
        print(json.dumps({"build": build_one, "search": search_one}[phase](engine, Path(place))))
        return
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make(folder, asked.rows, asked.dim, asked.queries)
        print(f"{asked.rows:,} x {asked.dim}, {len(os.sched_getaffinity(0))} cores\n\n" + HEADS, flush=True)
        for engine in ENGINES:
            built, searched = apart("build", engine, folder), apart("search", engine, folder)
            found[engine] = {"build": built, "search": searched}
            print(line(engine, built, searched), flush=True)
    print("\n" + "\n".join(ratios(found)))
    write_json(RESULT, {"rows": asked.rows, "dim": asked.dim, "cores": len(os.sched_getaffinity(0)), "engines": found})


HEADS = (
    "| engine | build s | build cpu s | build MB | p50 ms | p99 ms | recall@10 picture | text | search cpu s | MB |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def line(engine: str, built: dict[str, Any], searched: dict[str, Any]) -> str:
    return (
        f"| {engine} | {built['build_s']:.1f} | {built['cpu_s']:.1f} | {built['peak_mb']:,.0f} | "
        f"{searched['p50_ms']:.1f} | {searched['p99_ms']:.1f} | {searched['recall_picture']:.3f} | "
        f"{searched['recall_text']:.3f} | {searched['cpu_s']:.1f} | {searched['peak_mb']:,.0f} |"
    )


def ratios(found: dict[str, Any]) -> list[str]:
    """Of the median time, of each engine to that of the archive's index."""
    ours = found["mmkd, index"]["search"]["p50_ms"]
    notes = found["mmkd, index"]["build"]["notes"]
    others = [f"{name} {one['search']['p50_ms'] / ours:.2f}" for name, one in found.items() if name != "mmkd, index"]
    return [
        f"p50 of others / p50 of the archive's index: {', '.join(others)}",
        f"the archive chose {json.dumps(notes)}",
    ]


if __name__ == "__main__":
    main()
