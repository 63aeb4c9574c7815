"""The data sets: their cards and licences, leaks from training, parts of their samples, and where they lie."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmkd.evaluation.format.results import CLEAN, GAP, MEAN, Result, metric_label
from mmkd.evaluation.models.embeddings import embeddings_path, read_embeddings
from mmkd.report import maps, markup
from mmkd.report.markup import Cell, Line
from mmkd.report.numbers import MISSING, scale_of, spread
from mmkd.report.source import Evaluated, primary_metric, task_title
from mmkd.statistics.metrics import Array

MOST_POINTS = 3000  # in the embedding map


def subsets_section(evaluated: Evaluated) -> Iterator[str]:
    """The main model on parts of the samples: subgroups, and what does not lie near training pictures."""
    rows = [row for row in evaluated.subsets if row.model == evaluated.main]
    primary = {task: primary_metric(evaluated.of_task(task), task) for task in evaluated.tasks}
    shown = [row for row in rows if row.metric == primary.get(row.task)]
    if not shown:
        return
    whole = {
        (row.task, row.dataset, row.modality): row
        for row in evaluated.results
        if row.model == evaluated.main and row.metric == primary[row.task]
    }
    yield markup.heading(2, "Parts of the data sets", "subsets")
    clean = [row for row in shown if row.subset == CLEAN]
    others = [row for row in shown if row.subset != CLEAN]
    yield from _subset_table(clean, whole, "Without what lies near training pictures", evaluated.main)
    yield from _subset_table(others, whole, "Subgroups", evaluated.main)


def _subset_table(
    rows: Sequence[Result], whole: Mapping[tuple[str, str, str], Result], title: str, main: str
) -> Iterator[str]:
    if not rows:
        return
    yield markup.heading(3, title)
    lines: list[Line] = []
    for key in dict.fromkeys((row.task, row.dataset, row.modality) for row in rows):
        found = [row for row in rows if (row.task, row.dataset, row.modality) == key]
        lines.append(Line(f"{key[1]}, {task_title(key[0]).lower()}, {metric_label(found[0].metric)}", [], "group"))
        if key in whole:
            lines.append(Line("all samples", _subset_cells(whole[key], None)))
        lines += [Line(row.subset, _subset_cells(row, whole.get(key))) for row in found]
    yield markup.table(["", "value", "against all", "samples"], lines, f"{main}; intervals by the bootstrap")


def _subset_cells(row: Result, whole: Result | None) -> list[Cell]:
    gap = "" if whole is None or row.subset.endswith(GAP) else scale_of(row.metric).signed(row.value - whole.value)
    return [Cell(spread(row)), Cell(gap), Cell(f"{row.n:,}")]


def leakage_section(evaluated: Evaluated) -> Iterator[str]:
    """How many samples of each data set have a copy in the training corpus or in another split."""
    leaks = evaluated.leaks
    if leaks is None or not leaks.sets:
        return
    yield markup.heading(2, "Leaks from training", "leakage")
    found = sum(one.exact + one.near for one in leaks.sets)
    told = f"{found:,} samples have" if found else "No sample has"
    yield markup.paragraph(
        f"{told} a copy in what was learnt from. Exact: the same bytes or pixels. Near: perceptual hashes within "
        f"{leaks.radius} bits, mirrored or turned views included, and a cosine of at least {leaks.threshold:.3f} by "
        f"{leaks.described_by}; unconfirmed ones are below it."
    )
    lines = [
        Line(
            one.dataset,
            [Cell(one.split), Cell(one.source), *map(_count, (one.samples, one.exact, one.near, one.unconfirmed))],
        )
        for one in leaks.sets
    ]
    yield markup.table(["", "split", "looked up in", "samples", "exact", "near", "unconfirmed"], lines)


def _count(number: int) -> Cell:
    return Cell(f"{number:,}")


def map_section(evaluated: Evaluated) -> Iterator[str]:
    """The main model's picture embeddings on their plane of greatest variance."""
    modality_of = {row.dataset: row.modality for row in evaluated.results if row.dataset != MEAN}
    found = {
        name: read_embeddings(path).image_ID
        for name in modality_of
        if (path := embeddings_path(evaluated.folder, name, evaluated.main)).is_file()
    }
    sizes = {name: len(image_ID) for name, image_ID in found.items() if len(image_ID) > 2}
    if not sizes:
        return
    each = max(1, MOST_POINTS // len(sizes))
    taken = {name: found[name][evenly(size, each)] for name, size in sizes.items()}
    by = modality_of if len({modality_of[name] for name in taken}) > 1 else {name: name for name in taken}
    place_N2, share_2 = maps.principal_plane(np.concatenate(list(taken.values())))
    named_N = [by[name] for name, image_ID in taken.items() for _ in image_ID]
    groups = {name: place_N2[[one == name for one in named_N]] for name in dict.fromkeys(named_N)}
    yield markup.heading(2, "How the model sees the pictures", "map")
    says = (
        f"{len(named_N):,} pictures in the space of {evaluated.named}, on the two directions of greatest variance "
        f"({share_2[0]:.0%} and {share_2[1]:.0%} of it)."
    )
    yield markup.figure("embedding-map", maps.embedding_map_figure(groups), says)


def evenly(size: int, most: int) -> Array:
    """Up to `most` places spread over 0..size-1."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(np.int64))


def cards_section(evaluated: Evaluated) -> Iterator[str]:
    if not evaluated.cards:
        return
    yield markup.heading(2, "Data sets and their licences", "cards")
    lines = [Line(str(card.get("id", MISSING)), card_cells(card)) for card in evaluated.cards]
    heads = [
        "data set",
        "modality",
        "tasks",
        "samples",
        "licence",
        "access",
        "source",
        "overlaps and seen by",
        "warning",
    ]
    yield markup.table(heads, lines, "? marks what no source at hand confirms", text=True)


def card_cells(card: Mapping[str, Any]) -> list[Cell]:
    doubted = set(card.get("unverified", ()))

    def told(key: str, text: str) -> Cell:
        return Cell(f"{text} ?" if text and key in doubted else text)

    near = [*card.get("overlaps", ()), *(f"seen by {name}" for name in card.get("seen_by", ()))]
    return [
        told("modality", str(card.get("modality", ""))),
        told("tasks", ", ".join(task_title(name).lower() for name in card.get("tasks", ()))),
        told("counts", _sizes(card)),
        told("licence", str(card.get("licence", ""))),
        told("access", str(card.get("access", ""))),
        Cell(str(card.get("source", "")), link=True),
        told("overlaps", ", ".join(near)),
        Cell(str(card.get("warning", ""))),
    ]


def _sizes(card: Mapping[str, Any]) -> str:
    """Samples of each split as they were found, and as published where that is something else."""
    found, published = card.get("found") or {}, card.get("counts") or {}
    told = ", ".join(f"{split} {number:,}" for split, number in (found or published).items())
    if found and published and found != published:
        told += f" (published: {', '.join(f'{split} {number:,}' for split, number in published.items())})"
    return told
