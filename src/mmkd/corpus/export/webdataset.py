"""WebDataset as open_clip and img2dataset have it: tars of image, `txt` and `json`, `sizes.json`, each tar's table."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmkd.corpus.export.layout import METADATA, Piece, image_suffix, pairs_of
from mmkd.corpus.schema import Corpus
from mmkd.folders.atomic import atomic_file, write_json

SIZES = "sizes.json"
SUCCESS = "success"
# img2dataset's columns of a download; there was none, and what failed earlier is in the corpus's own list
DOWNLOADED = {"url": None, "status": SUCCESS, "error_message": None}


def write_tar(corpus: Corpus, piece: Piece, folder: Path) -> None:
    """`SPLIT/00000.tar`, and before it `SPLIT/00000.parquet` with the metadata, as img2dataset writes them.

    The same corpus gives the same bytes: members bear no date and no owner.
    """
    tar_path = _tar_path(folder, piece)
    rows = []
    with atomic_file(tar_path) as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, image, row in pairs_of(corpus, piece):
            suffix = image_suffix(image, row["id"])
            facts = {"key": key, **DOWNLOADED, **row}
            _add(tar, f"{key}.{suffix}", image)
            _add(tar, f"{key}.txt", row["caption"].encode())
            _add(tar, f"{key}.json", json.dumps(facts, ensure_ascii=False).encode())
            rows.append(facts)
        with atomic_file(tar_path.with_suffix(".parquet")) as table:
            pq.write_table(pa.Table.from_pylist(rows, schema=_schema(corpus)), table)


def is_written(piece: Piece, folder: Path) -> bool:
    return _tar_path(folder, piece).is_file()


def finish(pieces: Sequence[Piece], folder: Path) -> None:
    """`SPLIT/sizes.json`: pairs of every tar, from which open_clip knows the number of samples; and of every tar
    `SPLIT/00000_stats.json`, in which programs for img2dataset's folders look for it."""
    for piece in pieces:
        tar_path, count = _tar_path(folder, piece), len(piece.rows)
        failed = {"failed_to_download": 0, "failed_to_resize": 0, "duration": 0.0}
        stats = {"count": count, "successes": count, **failed, "status_dict": {SUCCESS: count}}
        write_json(tar_path.with_name(f"{tar_path.stem}_stats.json"), stats)
    for split in dict.fromkeys(piece.split for piece in pieces):
        sizes = {_tar_path(folder, piece).name: len(piece.rows) for piece in pieces if piece.split == split}
        write_json(folder / split / SIZES, sizes)


def _tar_path(folder: Path, piece: Piece) -> Path:
    return folder / piece.split / f"{piece.number:05d}.tar"


def _schema(corpus: Corpus) -> pa.Schema:
    kinds = corpus.take([0]).schema
    text = [pa.field(name, pa.string()) for name in ("key", *DOWNLOADED)]
    return pa.schema([*text, *(kinds.field(name) for name in METADATA)])


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size, header.mode = len(content), 0o644
    tar.addfile(header, io.BytesIO(content))
