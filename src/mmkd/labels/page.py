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
PILLS = 24  # labels to choose from at once; rarer ones are behind a line to open
LISTED = 10  # classes of a set that are named


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
    counts = {**found.classes, **({ABSTAINED: found.abstained} if found.abstained else {})}
    shown = {row["label"] or ABSTAINED for row in rows.values()}
    names = [name for name in counts if name in shown]  # of others there is nothing to look at
    cards = list(_cards(source, rows, names, options))
    total = found.classes.total() + found.abstained
    tiles = [
        ("pictures", f"{total:,}", f"{found.rejected.total():,} more could not be read" if found.rejected else ""),
        ("without a label", share(found.abstained, total), f"probability below {threshold:g}" if threshold else ""),
    ]
    filters = [(place, name, counts[name]) for place, name in enumerate(names)]
    view = {
        "title": f"Labels of {source.name or source}",
        "model": model,
        "calibration": str(found.calibration),
        "calibrated": found.calibration.calibrated,
        "cards": cards,
        "filters": filters[:PILLS],
        "more_filters": filters[PILLS:],
        "labels": len(counts),
        "total": total,
        "tiles": tiles,
        "table": found.out.name,
    }
    write_page(path, render("labels.html", **view))


def chosen(found: Labelled) -> dict[str, Mapping[str, Any]]:
    """Id -> row: the first of every label, then the second, and so on, in the order of the source."""
    kept: list[tuple[int, int, int]] = []  # turn, table, row of it: rows have a column a class
    count: dict[str, int] = {}
    for number, table in enumerate(found.tables):
        for place, label in enumerate(table["label"].to_pylist()):
            turn = count[label] = count.get(label, 0) + 1
            if turn <= SHOWN:
                kept.append((turn, number, place))
    places: dict[int, list[int]] = {}
    for number, place in sorted((number, place) for _, number, place in sorted(kept)[:SHOWN]):
        places.setdefault(number, []).append(place)
    rows = (row for number, own in places.items() for row in found.tables[number].take(own).to_pylist())
    return {row["id"]: row for row in rows}


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
        more = f" and {len(row[SET]) - LISTED:,} more" if len(row[SET]) > LISTED else ""
        lines.append((f"set: {', '.join(row[SET][:LISTED])}{more}", ""))
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
