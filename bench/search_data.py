"""Vectors as those of images and texts are, for the benchmark of search: made by a seed, in clusters. N rows, D dim.

    python bench/search_data.py [VECTORS.npy ...]

Says how the vectors lie: 5,000 of a million made ones, and of each file the first 5,000.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmkd.statistics.metrics import Array

PER_CLUSTER = 100  # rows, on average; sizes are those of a Zipf law
DECAY = 0.5  # the d-th direction has a standard deviation of d**-DECAY
CONE, SPREAD = 0.8, 0.7  # length of the mean of all, and of what is a row's own, where a cluster's centre has 1
GAP = 0.8  # between the mean of the texts and that of the images
CHUNK = 50_000
SAMPLE = 5000
TOP = 10
KINDS = ("picture", "text")
PATIENT, MODALITIES, SLICES = 20, 5, 200  # rows of a patient one after another; the others go round
CONDITIONS = {"a fifth": ("modality = 'm3'", MODALITIES, 3), "one in 200": ("slice = 7", SLICES, 7)}
"""Of the rows that meet it: as an archive is asked, and the row numbers that leave the remainder 3 or 7."""


def world(count: int, dim: int) -> tuple[Array, Array, Array]:
    """Centres of clusters, the probability of each, and the means of images and texts (2, D)."""
    rng = np.random.default_rng(1)
    clusters = max(10, count // PER_CLUSTER)
    weight = 1.0 / np.arange(1, clusters + 1) ** 0.5
    mean_2D = _unit(rng.standard_normal((2, dim)).astype(np.float32))
    mean_2D[1] = mean_2D[0] * CONE + mean_2D[1] * GAP
    mean_2D[0] *= CONE
    return _own(rng, clusters, dim), weight / weight.sum(), mean_2D


def _own(rng: np.random.Generator, count: int, dim: int) -> Array:
    scaled: Array = (
        rng.standard_normal((count, dim), dtype=np.float32) * np.arange(1, dim + 1, dtype=np.float32) ** -DECAY
    )
    return _unit(scaled)


def _unit(vector_ND: Array) -> Array:
    unit: Array = vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)
    return unit


def rows(count: int, dim: int, seed: int, is_text: bool = False, of: int = 0) -> Iterator[Array]:
    """Unit vectors, CHUNK at a time. of: the size of the archive whose clusters they are from."""
    centre_CD, weight_C, mean_2D = world(of or count, dim)
    rng = np.random.default_rng(seed)
    for first in range(0, count, CHUNK):
        size = min(CHUNK, count - first)
        cluster_N = rng.choice(len(centre_CD), size, p=weight_C)
        yield _unit(centre_CD[cluster_N] + SPREAD * _own(rng, size, dim) + mean_2D[int(is_text)])


def make(folder: Path, count: int, dim: int, queries: int) -> None:
    """vectors.npy; and of each kind, with `tune_` before it as well, queries and the cosines of their TOP nearest rows,
    without `tune_` also those with conditions and without the patient of the best row."""
    vector_ND = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (count, dim))
    for first, part_ND in zip(range(0, count, CHUNK), rows(count, dim, 0), strict=True):
        vector_ND[first : first + len(part_ND)] = part_ND
    for seed, name in enumerate([f"{use}{kind}" for use in ("", "tune_") for kind in KINDS], 2):
        query_QD = np.concatenate(list(rows(queries, dim, 10 * seed, name.endswith("text"), count)))
        score_QN = np.concatenate([query_QD @ vector_ND[at : at + CHUNK].T for at in range(0, count, CHUNK)], axis=1)
        np.save(folder / f"{name}.npy", query_QD)
        np.save(folder / f"{name}_best.npy", _best(score_QN))
        if name.startswith("tune_"):
            continue
        for condition, (_, step, rest) in CONDITIONS.items():
            np.save(folder / f"{name}_{condition}.npy", _best(score_QN[:, rest::step]))
        patient_Q = score_QN.argmax(axis=1) // PATIENT
        for score_N, patient in zip(score_QN, patient_Q, strict=True):
            score_N[patient * PATIENT : (patient + 1) * PATIENT] = -1
        np.save(folder / f"{name}_patient.npy", patient_Q)
        np.save(folder / f"{name}_others.npy", _best(score_QN))


def _best(score_QN: Array) -> Array:
    """The TOP largest of each row, largest first."""
    best_QK: Array = -np.sort(np.partition(-score_QN, TOP - 1, axis=1)[:, :TOP], axis=1)
    return best_QK


def described(vector_ND: Array, neighbours: int = 20) -> str:
    """Cosines, how many directions hold 90 % of the variance, and the intrinsic dimension by maximum likelihood from
    the distances to the neighbours (Levina and Bickel 2004)."""
    cosine_NN = vector_ND @ vector_ND.T
    np.fill_diagonal(cosine_NN, -1)
    near_NK = -np.sort(-cosine_NN, axis=1)[:, :neighbours]
    distance_NK = np.sqrt(np.maximum(2 - 2 * near_NK, 1e-12))
    dimension = 1 / np.mean(np.log(distance_NK[:, -1:] / distance_NK[:, :-1]))
    variance_D = np.linalg.svd(vector_ND - vector_ND.mean(axis=0), compute_uv=False) ** 2
    directions = int((variance_D.cumsum() < 0.9 * variance_D.sum()).sum()) + 1
    others = (cosine_NN.sum() + len(vector_ND)) / (len(vector_ND) * (len(vector_ND) - 1))
    return (
        f"{len(vector_ND):,} x {vector_ND.shape[1]}: cosine to another {others:.3f}, to the nearest "
        f"{near_NK[:, 0].mean():.3f}; {directions} directions hold 90 % of the variance; "
        f"intrinsic dimension {dimension:.1f}"
    )


def main() -> None:
    print(f"made: {described(np.concatenate(list(rows(SAMPLE, 512, 0, of=1_000_000))))}")
    for name in sys.argv[1:]:
        print(f"{name}: {described(_unit(np.load(name)[:SAMPLE].astype(np.float32)))}")


if __name__ == "__main__":
    main()
