"""Curation: sources in, a finished corpus folder out, with a record of everything that was left out and why."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmkd.arrow_folder import read_shard
from mmkd.corpus.assemble import write_corpus
from mmkd.corpus.duplicates import mark_duplicates
from mmkd.corpus.parts import Part, make_parts, rejection_table
from mmkd.corpus.settings import AnySource, CurateSettings
from mmkd.corpus.sources.kinds import open_source
from mmkd.errors import ConfigError, DataError
from mmkd.settings import Machine
from mmkd.stage import Stage, atomic_file, write_json

PARTS = "parts"
REJECTED = "rejected.parquet"
FUNNEL = "funnel.json"


def curate(settings: CurateSettings, folder: Path, machine: Machine, seed: int) -> dict[str, int]:
    """Fill the stage's partial folder with the corpus; returns rows read, kept and rejected, and rows per split.

    Goes on from the parts that an earlier, killed run left there, and writes the same bytes in any case and with any
    number of workers. Raises DataError when more than `max_rejected` of the records are rejected or none is left.
    """
    if (folder / FUNNEL).is_file():  # written last: an earlier run was killed after everything was done
        shutil.rmtree(folder / PARTS, ignore_errors=True)
        return _total(json.loads((folder / FUNNEL).read_text()))
    sources = named_sources(settings)
    parts = _parts(sources, folder / PARTS)
    make_parts(parts, settings, machine.workers)
    selection = _select(parts)
    with atomic_file(folder / REJECTED) as stream:
        pq.write_table(selection.rejected, stream)
    _check(sources, selection, settings.max_rejected, folder / REJECTED)
    splits = write_corpus(folder, [part.pairs for part in parts], selection.keep, settings, seed)
    funnel = _funnel(sources, selection, splits)
    write_json(folder / FUNNEL, funnel)
    shutil.rmtree(folder / PARTS)
    return _total(funnel)


def corpus_stage(folder: Path, settings: CurateSettings, kept: Mapping[str, Any], seed: int) -> Stage:
    """The stage that makes a corpus folder. kept: the settings as its manifest keeps them."""
    outputs = ("data-*.arrow", REJECTED, FUNNEL)
    return Stage("corpus", folder, {**kept, "seed": seed}, fingerprints(settings), outputs)


def fingerprints(settings: CurateSettings) -> dict[str, str]:
    """Source name -> fingerprint of what it reads, for the inputs of the stage."""
    return {source.name: open_source(source).fingerprint() for source in named_sources(settings)}


def named_sources(settings: CurateSettings) -> list[AnySource]:
    """The sources, each with a name: its own, or its kind and its place in the list (from 0).

    Raises ConfigError when two have the same.
    """
    named = [
        source.model_copy(update={"name": source.name or f"{source.kind}{place}"})
        for place, source in enumerate(settings.sources)
    ]
    if repeated := [name for name, times in Counter(source.name for source in named).items() if times > 1]:
        raise ConfigError(f"[curate] {len(named)} sources, but the name {repeated[0]!r} is taken twice; choose another")
    return named


@dataclass(frozen=True)
class Selection:
    """What is kept of all parts. keep: one bool array a part; read and kept: rows per source name."""

    keep: list[np.ndarray]
    rejected: pa.Table
    read: Counter[str]
    kept: Counter[str]


def _parts(sources: Sequence[AnySource], folder: Path) -> list[Part]:
    folder.mkdir(exist_ok=True)
    shards = [shard for source in sources for shard in open_source(source).shards()]
    return [Part(number, shard, folder) for number, shard in enumerate(shards)]


def _select(parts: Sequence[Part]) -> Selection:
    """Find the duplicates, part after part, and add up what the parts rejected."""
    keep: list[np.ndarray] = []
    read: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    rejected: list[pa.Table] = [rejection_table([])]
    ids: set[bytes] = set()
    captioned: set[bytes] = set()
    for part in parts:
        pairs, refused = read_shard(part.pairs), read_shard(part.rejected)
        mask, duplicates = mark_duplicates(pairs, ids, captioned)
        names = np.array(pairs.column("source").to_pylist(), dtype=object)
        read.update(names)
        read.update(refused.column("source").to_pylist())
        kept.update(names[mask])
        keep.append(mask)
        rejected += [refused, rejection_table(duplicates)]
    return Selection(keep, pa.concat_tables(rejected), read, kept)


def _check(sources: Iterable[AnySource], selection: Selection, max_rejected: float, listing: Path) -> None:
    for source in sources:
        if not selection.read[source.name]:
            raise DataError(f"source {source.name!r}: no record found with only = {source.only}; correct it or drop it")
    read, rejected = selection.read.total(), selection.rejected.num_rows
    if rejected <= max_rejected * read and rejected < read:
        return
    commonest = Counter(selection.rejected.column("reason").to_pylist()).most_common(3)
    raise DataError(
        f"{rejected:,} of {read:,} records rejected, at most {max_rejected:.0%} are allowed (max_rejected); "
        f"mostly {', '.join(f'{reason} ({count:,})' for reason, count in commonest)}; all are listed in {listing}"
    )


def _funnel(sources: Iterable[AnySource], selection: Selection, splits: dict[str, int]) -> dict[str, Any]:
    reasons = Counter(zip(*(selection.rejected.column(name).to_pylist() for name in ("source", "reason")), strict=True))
    per_source = {
        name: {
            "read": selection.read[name],
            "kept": selection.kept[name],
            "rejected": {reason: count for (source, reason), count in sorted(reasons.items()) if source == name},
        }
        for name in (source.name for source in sources)
    }
    counts = {"read": selection.read.total(), "kept": selection.kept.total(), "rejected": selection.rejected.num_rows}
    return {"sources": per_source, "total": {**counts, **splits}}


def _total(funnel: dict[str, Any]) -> dict[str, int]:
    return dict(funnel["total"])
