"""Parquet as the Hugging Face hub lays data sets out: `data/SPLIT-00000-of-00012.parquet`, images inside."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmkd.corpus.export.layout import READ_ROWS, Piece
from mmkd.corpus.schema import COLUMNS, Corpus, corpus_features
from mmkd.folders.arrow import arrow_schema
from mmkd.folders.atomic import atomic_file

HUB_SPLITS = {"val": "validation"}  # the name under which `datasets.load_dataset` finds it


def write_parquet(corpus: Corpus, piece: Piece, folder: Path) -> None:
    """One shard with all columns of the corpus; its schema says that `image` holds pictures."""
    schema = arrow_schema(corpus_features())
    with atomic_file(_path(folder, piece)) as stream, pq.ParquetWriter(stream, schema) as writer:
        for first in range(0, len(piece.rows), READ_ROWS):
            rows = corpus.take(piece.rows[first : first + READ_ROWS]).select(COLUMNS)
            writer.write_table(pa.Table.from_arrays(rows.select(schema.names).columns, schema=schema))


def is_written(piece: Piece, folder: Path) -> bool:
    return _path(folder, piece).is_file()


def finish(pieces: Sequence[Piece], folder: Path) -> None:
    """Nothing is left to do: the names say all."""


def _path(folder: Path, piece: Piece) -> Path:
    split = HUB_SPLITS.get(piece.split, piece.split)
    return folder / "data" / f"{split}-{piece.number:05d}-of-{piece.of:05d}.parquet"
