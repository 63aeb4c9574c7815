"""`mmkd corpus export`: a finished corpus in, a folder in the layout of another program out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmkd.corpus.export import parquet, table, webdataset
from mmkd.corpus.export.layout import PAIRS_PER_SHARD, Piece, pieces, shard_counts
from mmkd.corpus.schema import Corpus
from mmkd.errors import ConfigError
from mmkd.folders.stage import Stage, complete
from mmkd.progress import track
from mmkd.validation import nearest


@dataclass(frozen=True)
class Layout:
    """How shards are written. A shard that `is_written` is whole; `finish` adds what is about all of them."""

    write: Callable[[Corpus, Piece, Path], None]
    is_written: Callable[[Piece, Path], bool]
    finish: Callable[[Sequence[Piece], Path], None]


LAYOUTS = {
    "webdataset": Layout(webdataset.write_tar, webdataset.is_written, webdataset.finish),
    "parquet": Layout(parquet.write_parquet, parquet.is_written, parquet.finish),
    "csv": Layout(table.write_files, table.is_written, table.finish),
}


def export_corpus(
    folder: Path,
    layout: str,
    out: Path,
    split: str | None = None,
    pairs_per_shard: int = PAIRS_PER_SHARD,
    force: bool = False,
) -> dict[str, Any]:
    """Write `out` from the corpus in `folder`; returns its manifest. split: only this one.

    A finished `out` of the same corpus is left as it is; a killed run goes on after its last whole shard. Raises
    ConfigError for an unknown layout and where `out` is of another corpus, unless `force`.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"no layout {layout!r}; {nearest(layout, list(LAYOUTS))}")
    corpus = Corpus(folder)
    found = pieces(corpus, split, pairs_per_shard)
    settings = {"format": layout, "split": split or "all", "pairs_per_shard": pairs_per_shard}
    stage = Stage("export of a corpus", out, settings, {"corpus": corpus.digest})
    return complete(stage, partial(_write, corpus, found, LAYOUTS[layout]), force)


def _write(corpus: Corpus, found: Sequence[Piece], layout: Layout, folder: Path) -> dict[str, int]:
    todo = [piece for piece in found if not layout.is_written(piece, folder)]
    for piece in track(todo, "export", total=len(found), unit="shards", done=len(found) - len(todo)):
        layout.write(corpus, piece, folder)
    layout.finish(found, folder)
    return shard_counts(found)
