"""Anything the `datasets` library opens: a hub id, a folder of Parquet or images, a data set saved to disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mmkd.curation.records.record import Found, Shard, check_group
from mmkd.curation.settings.sources import HubSource
from mmkd.curation.sources.rows import Images, check_columns, names_in, records_of_rows, unread_group, wanted_columns
from mmkd.errors import DataError
from mmkd.folders.paths import ROOT_CURE
from mmkd.tables.arrow import BATCH_ROWS, python_rows
from mmkd.tables.spans import ROWS_PER_SHARD, Row

if TYPE_CHECKING:
    from datasets import Dataset

SAVED = ("state.json", "dataset_dict.json")  # files by which `save_to_disk` is known


@dataclass(frozen=True)
class HubReader:
    """A data set split; every part is a range of its rows."""

    source: HubSource

    def shards(self) -> list[Shard]:
        rows = _opened(self.source.path, self.source.split)
        check_columns(rows.column_names, self.source, self.source.path)
        shards = [
            HubShard(self.source, first, min(first + ROWS_PER_SHARD, len(rows)))
            for first in range(0, len(rows), ROWS_PER_SHARD)
        ]
        check_group(self.source, (name for shard in shards[:1] for name in names_in(shard.rows(), self.source)))
        return list(shards)

    def warnings(self, thorough: bool) -> list[str]:
        """Of its columns."""
        names = _opened(self.source.path, self.source.split).column_names
        return list(filter(None, [unread_group(names, self.source)]))

    def fingerprint(self) -> str:
        """The one `datasets` keeps."""
        return str(_opened(self.source.path, self.source.split)._fingerprint)


@dataclass(frozen=True)
class HubShard:
    source: HubSource
    begin: int
    end: int

    def records(self) -> Iterator[Found]:
        images = Images(_image_root(self.source.path), root=self.source.root, cure=ROOT_CURE)
        return records_of_rows(self.rows(), self.source.path, self.source, images)

    def rows(self) -> Iterator[tuple[int, Row]]:
        rows = _opened(self.source.path, self.source.split)
        columns = [name for name in rows.column_names if name in wanted_columns(self.source)]
        wanted = rows.select_columns(columns).with_format("arrow")
        for first in range(self.begin, self.end, BATCH_ROWS):
            table = wanted[first : min(first + BATCH_ROWS, self.end)]
            for batch in table.combine_chunks().to_batches():
                yield from enumerate(python_rows(batch), first)


@lru_cache(maxsize=8)
def _opened(path: str, split: str) -> "Dataset":
    """Opened once a process: workers read many parts of the same data set."""
    from datasets import DatasetDict, load_dataset, load_from_disk

    try:
        if not any((Path(path) / name).is_file() for name in SAVED):
            return load_dataset(path, split=split)
        saved = load_from_disk(path)
        return saved[split] if isinstance(saved, DatasetDict) else saved
    except (OSError, ValueError, KeyError) as error:  # missing, no such split, no builder for it
        raise DataError(
            f"{path}: `datasets` cannot open split {split!r} ({error}); expected a hub id, or a folder below "
            f"{Path.cwd()} or with a full path"
        ) from error


def _image_root(path: str) -> Path:
    """Where images stored by path may lie: in the data set's folder, or among the files `datasets` downloaded."""
    from datasets import config

    return Path(path) if Path(path).is_dir() else Path(config.HF_CACHE_HOME)
