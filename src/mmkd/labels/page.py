"""`labels.html`: thumbnails with their labels, to be filtered by class without any script."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd.curation.records.record import Rejected
from mmkd.inference.pictures import Picture, SourceOptions, pictures, read
from mmkd.labels.label import SET, Labelled
from mmkd.report.render import render, share, write_page

SHOWN = 480  # a page of some megabytes
SIDE = 200
QUALITY = 78
ABSTAINED = "abstained"


@dataclass(frozen=True)
class Card:
    """A picture on the page. place: of its filter."""

    place: int
    jpeg: bytes
    path: str
    lines: tuple[tuple[str, str], ...]


def write_labels_page(
    path: Path, source: Path, found: Labelled, options: SourceOptions, threshold: float, model: str
) -> None:
    """At most SHOWN pictures, evenly of every label and of those without one."""
    rows = chosen(found)
    names = [*found.classes, *([ABSTAINED] if found.abstained else [])]
    cards = list(_cards(source, rows, names, options))
    counts = {**found.classes, **({ABSTAINED: found.abstained} if found.abstained else {})}
    total = found.classes.total() + found.abstained
    tiles = [
        ("pictures", f"{total:,}", f"{found.rejected.total():,} more could not be read" if found.rejected else ""),
        ("without a label", share(found.abstained, total), f"probability below {threshold:g}" if threshold else ""),
    ]
    view = {
        "title": f"Labels of {source.name or source}",
        "model": model,
        "calibration": str(found.calibration),
        "calibrated": found.calibration.calibrated,
        "cards": cards,
        "filters": [(place, name, counts[name]) for place, name in enumerate(names)],
        "total": total,
        "tiles": tiles,
        "table": found.out.name,
    }
    write_page(path, render("labels.html", **view))


def chosen(found: Labelled) -> dict[str, Mapping[str, Any]]:
    """Id -> row: the first of every label, then the second, and so on, in the order of the source."""
    kept: list[tuple[int, int, str, Mapping[str, Any]]] = []
    count: dict[str, int] = {}
    number = 0
    for table in found.tables:
        for row in table.to_pylist():
            turn = count[row["label"]] = count.get(row["label"], 0) + 1
            if turn <= SHOWN:
                kept.append((turn, number, row["id"], row))
            number += 1
    kept = sorted(sorted(kept, key=lambda one: one[:2])[:SHOWN], key=lambda one: one[1])
    return {name: row for _, _, name, row in kept}


def _cards(
    source: Path, rows: Mapping[str, Mapping[str, Any]], names: Sequence[str], options: SourceOptions
) -> Iterator[Card]:
    left = len(rows)
    for one in pictures(source, options):
        if not left:
            return
        if isinstance(one, Picture) and one.id in rows:
            left -= 1
            row = rows[one.id]
            label = row["label"] or ABSTAINED
            yield Card(names.index(label), _jpeg(one), one.path, _lines(row))


def _lines(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    likeliest = sorted(
        ((value, name.partition(":")[2]) for name, value in row.items() if name.startswith("probability:")),
        reverse=True,
    )[:3]
    lines = [] if row["label"] else [("no label", "")]
    lines += [(f"{name}: {value:.2f}", "") for value, name in likeliest]
    if SET in row:
        lines.append((f"set: {', '.join(row[SET])}", ""))
    return tuple(lines)


def _jpeg(picture: Picture) -> bytes:
    """b"" for what can no longer be read."""
    shown = read(picture)
    if isinstance(shown, Rejected):
        return b""
    shown.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
