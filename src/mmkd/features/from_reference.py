"""Features from the public MMKD-CLIP data layout: one `clips_output.pt` per record, beside its image.

Each file is a dict of float32 vectors keyed `<TEACHER>_img` and `<TEACHER>_txt`, for the teachers in the record's
`available_clips`; the set differs from record to record.
"""

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.features.store import NO_CAPTION, Produced, Shard, feature_table
from mmkd.progress import track

META = "meta.jsonl"
FEATURES = "clips_output.pt"
SUFFIX = {"image": "_img", "text": "_txt"}


class ReferenceFeatures:
    """The stored features of the named teachers. Raises DataError when no record has one of them."""

    def __init__(self, root: Path, names: Sequence[str], corpus: Corpus) -> None:
        self.root, self.names, self.corpus = root, list(names), corpus
        self.folder_of = {record["id"]: str(Path(record["imgpath"]).parent) for record in records(root)}
        self.dims = self._dims()
        self.patch_widths = [0] * len(self.names)
        self.patchless = [f"{name} has stored vectors of whole pictures only" for name in self.names]

    def produce(self, shards: Sequence[Shard]) -> Produced:
        """See `mmkd.features.extract.Producer`; teachers that a record lacks are null there, and so are the texts of
        rows of which the corpus has no caption, whatever the record has."""
        for shard in track(shards, "read", len(shards), "shards"):
            yield shard, self._tables(shard.todo, shard.rows)

    def _tables(self, todo: Sequence[int], rows: np.ndarray) -> list[pa.Table]:
        pairs = self.corpus.take(rows)
        ids, captions = pairs.column("id"), pairs.column("caption").to_pylist()
        values = {
            k: {side: np.full((len(rows), self.dims[k]), np.nan, dtype=np.float32) for side in SUFFIX} for k in todo
        }
        reasons: dict[int, list[str | None]] = {k: [None] * len(rows) for k in todo}
        for row, identity in enumerate(ids.to_pylist()):
            stored = self._stored(identity)
            for k in todo:
                keys = {side: self.names[k] + suffix for side, suffix in SUFFIX.items()}
                if not captions[row]:
                    reasons[k][row], keys = NO_CAPTION, {"image": keys["image"]}
                for side, key in keys.items():
                    if key in stored:
                        values[k][side][row] = self._checked(stored[key], k, identity)
                if lacking := [key for key in keys.values() if key not in stored]:
                    reasons[k][row] = f"no {' and no '.join(lacking)} in {FEATURES}"
        return [feature_table(ids, values[k], reasons[k]) for k in todo]

    def _stored(self, identity: str) -> Mapping[str, torch.Tensor]:
        if identity not in self.folder_of:
            raise DataError(f"{self.root / META}: no record {identity!r}, which the corpus has; curate it from here")
        return load_vectors(self.root / self.folder_of[identity] / FEATURES)

    def _checked(self, vector: torch.Tensor, k: int, identity: str) -> np.ndarray:
        if vector.shape != (self.dims[k],):
            raise DataError(
                f"record {identity}: {self.names[k]} has shape {tuple(vector.shape)}, expected ({self.dims[k]},)"
            )
        unit: torch.Tensor = vector.float() / vector.float().norm().clamp(min=1e-12)
        return unit.numpy()

    def _dims(self) -> list[int]:
        found: dict[str, int] = {}
        for record in records(self.root):
            new = [name for name in self.names if name in record["available_clips"] and name not in found]
            if new:
                stored = load_vectors(self.root / Path(record["imgpath"]).parent / FEATURES)
                found |= {name: len(stored[name + SUFFIX["image"]]) for name in new if name + SUFFIX["image"] in stored}
            if len(found) == len(self.names):
                return [found[name] for name in self.names]
        missing = sorted(set(self.names) - set(found))
        raise DataError(f"{self.root}: no record has features of {', '.join(missing)}; see available_clips in {META}")


def records(root: Path) -> Iterator[dict[str, Any]]:
    """The usable lines of `meta.jsonl`: those with id, imgpath and available_clips; curate lists the others.

    Raises DataError when the file is missing.
    """
    path = root / META
    if not path.is_file():
        raise DataError(f"{root}: no {META} found; expected the public MMKD-CLIP data folder")
    with path.open("rb") as stream:
        for line in stream:
            try:
                record = json.loads(line)
                _ = record["id"] + record["imgpath"], record["available_clips"]
            except (ValueError, KeyError, TypeError):
                continue
            if not Path(record["imgpath"]).is_absolute() and ".." not in Path(record["imgpath"]).parts:
                yield record


def teacher_names(root: Path) -> list[str]:
    """Every teacher that some record has, sorted."""
    return sorted({name for record in records(root) for name in record["available_clips"]})


def load_vectors(path: Path) -> dict[str, torch.Tensor]:
    """One record's tensors. Loads tensors and nothing else; raises DataError for anything that is not that."""
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: not loadable as plain tensors ({str(error).splitlines()[0]})") from error
    if not isinstance(stored, dict) or not all(isinstance(v, torch.Tensor) for v in stored.values()):
        raise DataError(f"{path}: expected a dict of tensors, found {type(stored).__name__}")
    return stored
