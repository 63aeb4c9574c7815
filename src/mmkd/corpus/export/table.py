"""Image files and a table of them, as open_clip's CSV reader takes it: `filepath`, tab, `title`."""

import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmkd.corpus.export.layout import Piece, image_suffix, pairs_of
from mmkd.corpus.schema import Corpus
from mmkd.folders.atomic import atomic_file

if TYPE_CHECKING:
    from _csv import Writer

PARTS = "parts"
FIELDS = {"filepath": "", "title": "caption", "id": "id", "modality": "modality", "group": "group"} | {
    name: name for name in ("licence", "source")
}
"""Head of a column -> the corpus's column; the image's path stands in no column of the corpus."""


def write_files(corpus: Corpus, piece: Piece, folder: Path) -> None:
    """`images/SPLIT/00000/000000000.jpg` and the shard's part of the table, which is written last."""
    lines = io.StringIO()
    writer = _writer(lines)
    for key, image, row in pairs_of(corpus, piece):
        name = f"images/{piece.split}/{piece.number:05d}/{key}.{image_suffix(image, row['id'])}"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)  # not through a draft: until the part of the table is there, the shard is made anew
        writer.writerow([name, *(row[column] for column in FIELDS.values() if column)])
    with atomic_file(_part(folder, piece)) as stream:
        stream.write(lines.getvalue().encode())


def is_written(piece: Piece, folder: Path) -> bool:
    return _part(folder, piece).is_file() or _table(folder, piece.split).is_file()


def finish(pieces: Sequence[Piece], folder: Path) -> None:
    """`SPLIT.tsv`: the parts, one after the other. Paths in it are relative to the folder it lies in."""
    for split in dict.fromkeys(piece.split for piece in pieces):
        if _table(folder, split).is_file():
            continue
        head = io.StringIO()
        _writer(head).writerow(FIELDS)
        with atomic_file(_table(folder, split)) as stream:
            stream.write(head.getvalue().encode())
            for piece in pieces:
                if piece.split == split:
                    stream.write(_part(folder, piece).read_bytes())
    shutil.rmtree(folder / PARTS, ignore_errors=True)  # after all tables; an earlier run may have got so far


def _writer(stream: io.StringIO) -> "Writer":
    return csv.writer(stream, delimiter="\t", lineterminator="\n")


def _part(folder: Path, piece: Piece) -> Path:
    return folder / PARTS / f"{piece.split}-{piece.number:05d}.tsv"


def _table(folder: Path, split: str) -> Path:
    return folder / f"{split}.tsv"
