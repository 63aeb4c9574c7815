"""The parts of modalities as the folder of the reliability keeps them. Letters: N rows, C cells, D dimension."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from mmkd.folders.atomic import atomic_file
from mmkd.reliability.caption_cells import CaptionCells, Metric

PARTS = "parts.safetensors"


@dataclass(frozen=True)
class PartsOfRows:
    """Modalities that are divided. group_N: the group of each row of the corpus, strings: a part of its modality, or
    the modality where it is whole. cells: modality -> which captions belong to which part."""

    group_N: np.ndarray
    cells: Mapping[str, CaptionCells]


def save_parts(parts: PartsOfRows, folder: Path) -> dict[str, Any]:
    """Write the numbers; returns what `load_parts` needs beside them, for JSON."""
    name_G, of_N = np.unique(parts.group_N, return_inverse=True)
    numbers, told = {"group": of_N.astype(np.int32)}, {}
    for modality, cells in parts.cells.items():
        numbers[f"{modality}.centre"] = cells.centre_CD.astype(np.float32)
        numbers |= {f"{modality}.mean.{name}": mean_D for name, mean_D in cells.metric.means.items()}
        told[modality] = {"slopes": dict(cells.metric.slopes), "part": list(cells.part_C)}
    with atomic_file(folder / PARTS) as stream:
        stream.write(save(numbers))
    return {"groups": name_G.tolist(), "cells": told}


def load_parts(folder: Path, told: Mapping[str, Any]) -> PartsOfRows:
    """The inverse of `save_parts`. Raises OSError, KeyError, IndexError or ValueError for damaged files."""
    numbers, cells = load_file(folder / PARTS), {}
    for modality, facts in told["cells"].items():
        means = {name: numbers[f"{modality}.mean.{name}"] for name in facts["slopes"]}
        metric = Metric({name: float(slope) for name, slope in facts["slopes"].items()}, means)
        cells[modality] = CaptionCells(metric, numbers[f"{modality}.centre"], tuple(facts["part"]))
    return PartsOfRows(np.array(told["groups"])[numbers["group"]], cells)
