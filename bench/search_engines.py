"""What the benchmark of search compares: each engine builds from vectors.npy in a folder, and opens there to be asked.

A folder also has `tune_picture.npy` and `tune_text.npy`, queries by which the effort of faiss is chosen, and
`tune_picture_best.npy` and `tune_text_best.npy`, the cosines of the TOP nearest rows of each.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from search_data import CHUNK, KINDS, MODALITIES, PATIENT, SLICES, TOP, rows

from mmkd.folders.atomic import write_json
from mmkd.statistics.metrics import Array

AIM, ROUNDING = 0.99, 1e-5
EFFORT = {"hnsw": "efSearch", "ivf": "nprobe"}
MOST = 4096  # candidates of HNSW
Find = Callable[[Array], Array]
"""A query (D,) -> places of its TOP nearest rows."""


def recall(vector_ND: Array, query_QD: Array, best_QK: Array, place_QK: Array) -> float:
    """Mean share of the TOP nearest rows; one as near as the last of them counts, too."""
    score_QK = np.einsum("qkd,qd->qk", vector_ND[place_QK], query_QD)
    return float((score_QK >= best_QK[:, -1:] - ROUNDING).mean())


def build_numpy(folder: Path) -> None: ...


def open_numpy(folder: Path) -> Find:
    vector_ND = np.load(folder / "vectors.npy")

    def find(query_D: Array) -> Array:
        score_N = vector_ND @ query_D
        return np.argpartition(-score_N, TOP)[:TOP]

    return find


def build_archive(folder: Path) -> None:
    from mmkd.archive.archive import Archive
    from mmkd.archive.recall import QUERIES
    from mmkd.archive.rows import Facts, vectors_column

    vector_ND = np.load(folder / "vectors.npy", mmap_mode="r")
    archive = Archive.create(folder / "archive", Facts("none", "none", "0" * 64, vector_ND.shape[1]))
    archive.exact_rows = 0
    with archive.writing():
        for first in range(0, len(vector_ND), CHUNK):
            part_ND = vector_ND[first : first + CHUNK]
            places = range(first, first + len(part_ND))
            columns = {
                "id": [str(place) for place in places],
                "caption": [f"caption {place}" for place in places],
                "patient": [f"p{place // PATIENT}" for place in places],
                "modality": [f"m{place % MODALITIES}" for place in places],
                "slice": pa.array([place % SLICES for place in places], pa.int32()),
                "vector": vectors_column(part_ND),
            }
            archive.add(pa.table(columns))
    text_QD = np.concatenate(list(rows(QUERIES, vector_ND.shape[1], 5, True, len(vector_ND))))
    start = time.perf_counter()
    notes = archive.finish(lambda texts: text_QD[: len(texts)])
    print(json.dumps({"finish_s": time.perf_counter() - start, "effort": notes["effort"], "notes": notes}))


def open_archive(folder: Path, exact: bool = False) -> Find:
    from mmkd.archive.archive import Archive

    archive = Archive.open(folder / "archive")
    return lambda query_D: np.array([int(hit.id) for hit in archive.search(query_D, TOP, exact=exact)])


def build_faiss(kind: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        import faiss

        vector_ND = np.load(folder / "vectors.npy")
        count, dim = vector_ND.shape
        name = {"flat": "Flat", "hnsw": "HNSW32", "ivf": f"IVF{int(count**0.5)},Flat"}[kind]
        index: Any = faiss.index_factory(dim, name, faiss.METRIC_INNER_PRODUCT)
        if kind == "hnsw":
            index.hnsw.efConstruction = 80
        index.train(vector_ND)
        index.add(vector_ND)
        if kind in EFFORT:
            print(json.dumps({"effort": _least_effort(index, kind, folder, vector_ND)}))
        faiss.write_index(index, str(folder / f"faiss_{kind}"))

    return build


def _least_effort(index: Any, kind: str, folder: Path, vector_ND: Array) -> int:
    """The least of a ladder that reaches the aim for each kind of query; it is kept for `open_faiss`."""
    effort = TOP if kind == "hnsw" else 1
    most = index.nlist if kind == "ivf" else MOST
    while True:
        setattr(index.hnsw if kind == "hnsw" else index, EFFORT[kind], effort)
        found = []
        for name in KINDS:
            query_QD, best_QK = (np.load(folder / f"tune_{name}{end}.npy") for end in ("", "_best"))
            found.append(recall(vector_ND, query_QD, best_QK, index.search(query_QD, TOP)[1]))
        if min(found) >= AIM or effort == most:
            break
        effort = min(max(effort + 1, effort * 5 // 4), most)
    write_json(folder / f"{kind}.json", effort)
    return effort


def open_faiss(kind: str) -> Callable[[Path], Find]:
    def opened(folder: Path) -> Find:
        import faiss

        index: Any = faiss.read_index(str(folder / f"faiss_{kind}"))
        if kind in EFFORT:
            effort = json.loads((folder / f"{kind}.json").read_text())
            setattr(index.hnsw if kind == "hnsw" else index, EFFORT[kind], effort)
        return lambda query_D: index.search(query_D[None], TOP)[1][0]

    return opened


ENGINES: dict[str, tuple[Callable[[Path], None], Callable[[Path], Find]]] = {
    "mmkd, index": (build_archive, open_archive),
    "mmkd, exact": (build_numpy, lambda folder: open_archive(folder, exact=True)),
    "NumPy": (build_numpy, open_numpy),
    "faiss flat": (build_faiss("flat"), open_faiss("flat")),
    "faiss IVF": (build_faiss("ivf"), open_faiss("ivf")),
    "faiss HNSW": (build_faiss("hnsw"), open_faiss("hnsw")),
}
