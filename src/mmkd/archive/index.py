"""The pictures of a source into an archive: what is new, and what has changed."""

import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mmkd.archive.archive import Added, Archive
from mmkd.archive.rows import vectors_column
from mmkd.archive.where import Compare, In, both
from mmkd.curation.records.record import Rejected
from mmkd.errors import ConfigError, DataError
from mmkd.folders.digests import json_digest
from mmkd.inference.model import BATCH, Model
from mmkd.inference.pictures import DEFAULTS, Picture, SourceOptions, pictures, read
from mmkd.inference.table_pictures import SAVED
from mmkd.progress import say, track

READ = 16 * BATCH  # pictures whose states are compared at a time
COMMITTED_S = 20.0  # what kill -9 can cost
COMMITTED_ROWS = 8192
SIDE = 160  # pixels of a thumbnail
QUALITY = 80


@dataclass(frozen=True)
class Options:
    """prefix: before each id, where two sources have the same ones. moved: the source stood in another place before.
    prune: delete rows of the source whose pictures are gone. thumbnails: keep one of each picture. workers: threads
    that decode. source: how it is read."""

    prefix: str = ""
    moved: bool = False
    prune: bool = False
    thumbnails: bool = True
    workers: int = 2
    source: SourceOptions = DEFAULTS


@dataclass
class Indexed:
    """noted: as in `Picture`. gone: ids of rows of this source whose pictures were not met."""

    added: Added = field(default_factory=Added)
    rejected: list[Rejected] = field(default_factory=list)
    noted: Counter[str] = field(default_factory=Counter)
    gone: list[str] = field(default_factory=list)
    pruned: int = 0

    @property
    def is_changed(self) -> bool:
        """Whether a row was added, replaced or deleted."""
        return bool(self.added.new or self.added.changed or self.pruned)

    def reasons(self) -> dict[str, int]:
        return dict(Counter(str(one.reason) for one in self.rejected).most_common())


def index(source: Path, model: Model, archive: Archive, options: Options) -> Indexed:
    """Bring the archive to what the source holds. Rows appear some thousands at a time, and a run that was cut off goes
    on where it was. Raises ConfigError for another model's archive, or for ids that another source has in it.
    """
    archive.check(model)
    with archive.writing():
        name = source_name(source)
        known = archive.states(Compare("source", "=", name))
        work = _Work(name, model, archive, options, known)
        total = sum(1 for _ in pictures(source, options.source))
        met = track(pictures(source, options.source), f"index {source.name}", total, "pictures")
        while chunk := list(islice(met, READ)):
            work.take(chunk)
        return work.finish()


class _Work:
    """One source on its way into the archive."""

    def __init__(self, source: str, model: Model, archive: Archive, options: Options, known: Mapping[str, str]) -> None:
        self._source, self._model, self._archive, self._options = source, model, archive, options
        self._found, self._known, self._gone = Indexed(), known, set(known)
        self._rows: list[dict[str, Any]] = []
        self._committed = time.perf_counter()
        self._threads = ThreadPoolExecutor(options.workers)

    def take(self, chunk: Sequence[Picture | Rejected]) -> None:
        self._found.rejected += [one for one in chunk if isinstance(one, Rejected)]
        told = {self._options.prefix + one.id: one for one in chunk if isinstance(one, Picture)}
        self._found.noted.update(note for one in told.values() for note in one.noted)
        self._gone.difference_update(told)
        if not self._options.moved:
            cure = f"give --prefix NAME/ to keep both, or --moved where {self._source} is that source in another place"
            check_foreign(self._archive, self._source, [name for name in told if name not in self._known], cure)
        states = {name: self._state(one) for name, one in told.items()}
        wanted = [(name, one) for name, one in told.items() if self._known.get(name) != states[name]]
        self._found.added += Added(same=len(told) - len(wanted))
        prepared = self._threads.map(self._prepared, [one for _, one in wanted])  # go on while the model computes
        for first in range(0, len(wanted), BATCH):
            batch = wanted[first : first + BATCH]
            self._embed(batch, list(islice(prepared, len(batch))), states)
        if len(self._rows) >= COMMITTED_ROWS or time.perf_counter() - self._committed > COMMITTED_S:
            self._commit()

    def finish(self) -> Indexed:
        self._commit()
        self._threads.shutdown()
        self._found.gone = sorted(self._gone)
        if self._options.prune and self._gone:
            self._found.pruned = self._archive.delete(self._found.gone)
        return self._found

    def _state(self, picture: Picture) -> str:
        known = [self._source, picture.path, picture.caption, picture.modality, picture.group, picture.series]
        return json_digest([*known, picture.slice, picture.stamp, self._options.thumbnails])[:32]

    def _embed(
        self,
        batch: Sequence[tuple[str, Picture]],
        prepared: Sequence[tuple[np.ndarray, bytes] | Rejected],
        states: Mapping[str, str],
    ) -> None:
        good = [(*each, *got) for each, got in zip(batch, prepared, strict=True) if not isinstance(got, Rejected)]
        self._found.rejected += [got for got in prepared if isinstance(got, Rejected)]
        if not good:
            return
        vector_BD = self._model.encode_prepared(np.stack([pixels for _, _, pixels, _ in good]))
        for (name, one, _, thumbnail), vector_D in zip(good, vector_BD, strict=True):
            self._rows.append(
                {
                    "id": name,
                    "source": self._source,
                    "path": one.path,
                    "caption": one.caption,
                    "modality": one.modality,
                    "patient": one.group,
                    "series": one.series,
                    "slice": one.slice,
                    "state": states[name],
                    "thumbnail": thumbnail,
                    "vector": vector_D,
                }
            )

    def _prepared(self, picture: Picture) -> tuple[np.ndarray, bytes] | Rejected:
        image = read(picture)
        if isinstance(image, Rejected):
            return image
        return self._model.prepare(image), jpeg(image) if self._options.thumbnails else b""

    def _commit(self) -> None:
        if self._rows:
            vectors = vectors_column(np.stack([row.pop("vector") for row in self._rows]))
            self._found.added += self._archive.add(pa.Table.from_pylist(self._rows).append_column("vector", vectors))
        self._rows, self._committed = [], time.perf_counter()


def check_foreign(archive: Archive, source: str, ids: Sequence[str], cure: str) -> None:
    """Raises ConfigError where rows of another source have these ids."""
    if not ids:
        return
    of_another = both(In("id", tuple(ids)), Compare("source", "!=", source))
    for batch in archive.store.scan(("id", "source"), of_another):
        if len(batch):
            name, other = batch["id"][0].as_py(), batch["source"][0].as_py()
            raise ConfigError(f"{archive.store.place} has a picture {name!r} already, of the source {other!r}; {cure}")


def source_name(source: Path) -> str:
    """Where the source is, as rows have it: paths of its pictures begin there, where it ends in "/", else beside it."""
    place = source.resolve()
    corpus = place / "corpus"  # of a run, which is what is read of it
    if not has_saved(place) and has_saved(corpus):
        place = corpus
    return f"{place}/" if place.is_dir() else str(place)


def has_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in SAVED)


def one_picture(source: Path, options: SourceOptions = DEFAULTS) -> tuple[Picture, Image.Image]:
    """The picture of a file, of several (a volume) the middle one. Raises DataError that says why there is none."""
    if not source.is_file():
        raise DataError(f"{source}: no such file")
    met = list(pictures(source, options))
    found = [one for one in met if isinstance(one, Picture)]
    why = [f"{one.reason}: {one.detail}" for one in met if isinstance(one, Rejected)] or ["it holds no picture"]
    if not found:
        raise DataError(f"{source} cannot be read as a picture ({why[0]})")
    if len(found) > 1:
        say(f"{source} holds {len(found):,} pictures; searched is the middle one")
    image = read(picture := found[len(found) // 2])
    if isinstance(image, Rejected):
        raise DataError(f"{source} cannot be read as a picture ({image.reason}: {image.detail})")
    return picture, image


def jpeg(image: Image.Image) -> bytes:
    """A thumbnail of at most SIDE pixels a side."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
