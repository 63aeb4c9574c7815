"""Hits as a table on the terminal, as JSON, CSV, and as a page with thumbnails."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmkd.archive.archive import Hit
from mmkd.folders.atomic import atomic_file
from mmkd.markdown import line
from mmkd.progress import print_table
from mmkd.report.render import cut, render, write_page
from mmkd.tables.spreadsheet import csv_text

COLUMNS = ("rank", "score", "file", "id", "source", "path")
OPTIONAL = ("caption", "modality", "patient", "series", "slice")  # columns that are left out where no hit has them
LONGEST = 60  # characters of a caption on the terminal


def plain(hit: Hit) -> dict[str, Any]:
    """All but the thumbnail, for JSON and tables."""
    return {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "file": hit.file,
        **{name: value for name, value in asdict(hit).items() if name not in ("rank", "score", "thumbnail")},
    }


def print_hits(hits: Sequence[Hit]) -> None:
    """A line for each, with the columns that say something."""
    shown = [name for name in OPTIONAL if any(getattr(hit, name) not in ("", None) for hit in hits)]
    rows = [
        (str(hit.rank), f"{hit.score:.4f}", line(hit.path), *(_cell(getattr(hit, name)) for name in shown))
        for hit in hits
    ]
    print_table(("rank", "score", "file", *shown), rows, texts=("file", *OPTIONAL))
    for folder in sorted({hit.folder for hit in hits if hit.source}):
        print(f"files are below {folder}")


def _cell(value: object) -> str:
    return "" if value is None else cut(line(str(value)), LONGEST)


def write_csv(path: Path, hits: Sequence[Hit]) -> None:
    rows = [list(plain(hit).values()) for hit in hits]
    heads = [*COLUMNS, *OPTIONAL]
    with atomic_file(path) as stream:
        stream.write(csv_text([heads, *rows]).encode())


def write_html(path: Path, hits: Sequence[Hit], query: str, about: str, jpeg: bytes = b"") -> None:
    """query: what was searched. about: where, by which model and under which condition. jpeg: of a query picture."""
    shown = [(hit.rank, hit.thumbnail, _lines(hit)) for hit in hits]
    write_page(path, render("hits.html", title="Search", hits=shown, query=query, about=about, jpeg=jpeg))


def _lines(hit: Hit) -> list[tuple[str, str]]:
    """What stands below a picture, each with its class in the page."""
    place = "" if hit.slice is None else f", slice {hit.slice}"
    who = ", ".join(filter(None, [hit.modality, f"patient {hit.patient}" if hit.patient else ""]))
    series = f"series {hit.series}{place}" if hit.series else ""
    texts = [f"{hit.rank}. {hit.score:.3f}", cut(line(hit.caption), 200), who, series, hit.path]
    return [(text, "") for text in texts if text]
