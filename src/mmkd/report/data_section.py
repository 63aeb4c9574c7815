"""The data sets: cards and licences, leakage, subgroups, and the embedding map."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmkd.evaluation.format.numbers import MISSING, metric_label, scale_of, spread
from mmkd.evaluation.format.results import CLEAN, GAP, MEAN, NOT_COUNTED, Result
from mmkd.evaluation.models.embeddings import embeddings_path, read_embeddings
from mmkd.report import maps
from mmkd.report.plot import Figure
from mmkd.report.source import Evaluated, primary_metric, task_title
from mmkd.report.view import Cell, Row, Table
from mmkd.statistics.metrics import Array

MOST_POINTS = 3000  # in the embedding map
CARD_HEADS = ("data set", "modality", "tasks", "samples", "licence", "access", "source", "overlaps", "warning")


def subsets_section(evaluated: Evaluated) -> dict[str, Any] | None:
    """The main model on parts of the samples: subgroups, and samples without near-duplicates in the training data."""
    primary = {task: primary_metric(evaluated.of_task(task), task) for task in evaluated.tasks}
    shown = [row for row in evaluated.subsets if row.model == evaluated.main and row.metric == primary.get(row.task)]
    if not shown:
        return None
    whole = {
        (row.task, row.dataset, row.modality): row
        for row in evaluated.results
        if row.model == evaluated.main and row.metric == primary[row.task]
    }
    return {
        "clean": _subset_table([row for row in shown if row.subset == CLEAN], whole, evaluated.main),
        "groups": _subset_table([row for row in shown if row.subset != CLEAN], whole, evaluated.main),
    }


def _subset_table(rows: Sequence[Result], whole: Mapping[tuple[str, str, str], Result], main: str) -> Table | None:
    lines: list[Row] = []
    for key in dict.fromkeys((row.task, row.dataset, row.modality) for row in rows):
        found = [row for row in rows if (row.task, row.dataset, row.modality) == key]
        name = f"{key[1]}, {task_title(key[0]).lower()}, {metric_label(found[0].metric)}"
        lines.append(Row(name, kind="group"))
        if key in whole:
            lines.append(Row("all samples", _subset_cells(whole[key], None)))
        lines += [Row(_subset_name(row), _subset_cells(row, whole.get(key))) for row in found]
    heads = ["", "value", "minus all samples", "samples"]
    return Table(heads, lines, f"{main}; intervals by the bootstrap") if lines else None


def _subset_name(row: Result) -> str:
    """Means are made of clean subsets, and of no subgroups."""
    return row.subset if row.is_counted or row.subset != CLEAN else f"{CLEAN}, {NOT_COUNTED}"


def _subset_cells(row: Result, whole: Result | None) -> list[str]:
    gap = "" if whole is None or row.subset.endswith(GAP) else scale_of(row.metric).signed(row.value - whole.value)
    return [spread(row), gap, f"{row.n:,}"]


def leakage_section(evaluated: Evaluated) -> dict[str, Any] | None:
    """How many samples of each data set have a copy in the training corpus or in another split."""
    leaks = evaluated.leaks
    if leaks is None or not leaks.sets:
        return None
    heads = ["", "split", "compared with", "samples", "exact", "near", "unconfirmed"]
    rows = [
        Row(
            one.dataset,
            [one.split, one.source, *(f"{number:,}" for number in (one.samples, one.exact, one.near, one.unconfirmed))],
        )
        for one in leaks.sets
    ]
    return {"copies": sum(one.exact + one.near for one in leaks.sets), "leaks": leaks, "table": Table(heads, rows)}


def map_section(evaluated: Evaluated) -> Figure | None:
    """The main model's image embeddings on their plane of greatest variance."""
    modality_of = {row.dataset: row.modality for row in evaluated.results if row.dataset != MEAN}
    found = {
        name: read_embeddings(path).image_ID
        for name in modality_of
        if (path := embeddings_path(evaluated.folder, name, evaluated.main)).is_file()
    }
    sizes = {name: len(image_ID) for name, image_ID in found.items() if len(image_ID) > 2}
    if not sizes:
        return None
    each = max(1, MOST_POINTS // len(sizes))
    taken = {name: found[name][evenly(size, each)] for name, size in sizes.items()}
    by = modality_of if len({modality_of[name] for name in taken}) > 1 else {name: name for name in taken}
    place_N2, share_2 = maps.principal_plane(np.concatenate(list(taken.values())))
    named_N = [by[name] for name, image_ID in taken.items() for _ in image_ID]
    groups = {name: place_N2[[one == name for one in named_N]] for name in dict.fromkeys(named_N)}
    says = (
        f"{len(named_N):,} images in the embedding space of {evaluated.named}, on the two principal components of "
        f"greatest variance ({share_2[0]:.0%} and {share_2[1]:.0%} of it)."
    )
    return Figure("embedding-map", maps.embedding_plot(groups), says)


def evenly(size: int, most: int) -> Array:
    """Up to `most` places spread over 0..size-1."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(np.int64))


def cards_section(evaluated: Evaluated) -> Table | None:
    rows = [Row(str(card.get("id", MISSING)), card_cells(card)) for card in evaluated.cards]
    caption = "? marks what no source at hand confirms"
    return Table(CARD_HEADS, rows, caption, text=True) if rows else None


def card_cells(card: Mapping[str, Any]) -> list[Cell]:
    doubted = set(card.get("unverified", ()))

    def marked(key: str, text: str) -> Cell:
        return Cell(f"{text} ?" if text and key in doubted else text)

    near = [*card.get("overlaps", ()), *(f"in the training data of {name}" for name in card.get("seen_by", ()))]
    return [
        marked("modality", str(card.get("modality", ""))),
        marked("tasks", ", ".join(task_title(name).lower() for name in card.get("tasks", ()))),
        marked("counts", _sizes(card)),
        marked("licence", str(card.get("licence", ""))),
        marked("access", str(card.get("access", ""))),
        Cell(str(card.get("source", "")), link=True),
        marked("overlaps", ", ".join(near)),
        Cell(str(card.get("warning", ""))),
    ]


def _sizes(card: Mapping[str, Any]) -> str:
    """Samples of each split as they were found, and as published where that is something else."""
    found, published = card.get("found") or {}, card.get("counts") or {}
    sizes = ", ".join(f"{split} {number:,}" for split, number in (found or published).items())
    if found and published and found != published:
        sizes += f" (published: {', '.join(f'{split} {number:,}' for split, number in published.items())})"
    return sizes
