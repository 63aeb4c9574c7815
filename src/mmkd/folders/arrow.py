"""Folders that `datasets.load_from_disk` opens, written shard by shard so that a killed run keeps its finished shards.

A shard is one Arrow stream file. It appears under its name only when it is whole; `finish` then writes the two small
JSON files that make the folder a Hugging Face data set. Nothing is copied and no shard needs to fit into memory twice.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mmkd.errors import DataError
from mmkd.folders.atomic import atomic_file, write_json

if TYPE_CHECKING:
    from datasets import Dataset, Features

BATCH_ROWS = 256  # rows a record batch: small enough for random access, large enough for scans


def arrow_schema(features: "Features") -> pa.Schema:
    """The Arrow schema of Hugging Face features, with the metadata `datasets` looks for."""
    described = {"huggingface": json.dumps({"info": {"features": features.to_dict()}})}
    return features.arrow_schema.with_metadata(described)


def write_shard(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch | pa.Table]) -> int:
    """Write one Arrow stream file whole or not at all; returns its number of rows.

    Several processes may write the same shard: each has its own draft, and the last one to finish gives the file.
    """
    rows = 0
    with atomic_file(path) as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
            writer.write_table(table.cast(schema).combine_chunks(), max_chunksize=BATCH_ROWS)
            rows += table.num_rows
    return rows


def read_shard(path: Path) -> pa.Table:
    """A shard as a memory-mapped table. Raises DataError when the file is not a whole Arrow stream."""
    try:
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_stream(source).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a readable Arrow shard ({error}); delete it and run the stage again") from error


def finish(folder: Path, features: "Features", shards: Sequence[str], identity: str) -> None:
    """Make the folder of shards (file names, in order) a data set that `datasets.load_from_disk` opens.

    identity: hex digest of the content, on which `datasets` keys its caches: it must differ where the content does.
    """
    from datasets import DatasetInfo

    DatasetInfo(features=features).write_to_directory(str(folder))
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in shards],
        "_fingerprint": identity[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    write_json(folder / "state.json", state)


def open_folder(folder: Path) -> "Dataset":
    """The data set, memory-mapped, in Arrow format: indexing with row numbers gives `pyarrow.Table`s.

    Raises DataError when the folder is missing or damaged.
    """
    from datasets import load_from_disk

    try:
        return load_from_disk(str(folder)).with_format("arrow")
    except (FileNotFoundError, pa.ArrowInvalid, OSError, ValueError) as error:
        raise DataError(f"{folder}: not a readable data set folder ({error}); run the stage that makes it") from error
