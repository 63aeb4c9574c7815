"""Curation: sources in, a finished corpus folder out, with a record of everything that is not in it and why."""

import json
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmkd.curation.decontaminate import ReadEvaluationImages, no_evaluation_images
from mmkd.curation.facts.dropped import warning_of_dropped
from mmkd.curation.ledger.funnel import FUNNEL
from mmkd.curation.ledger.notes import notes_in_words
from mmkd.curation.ledger.rows import REJECTED
from mmkd.curation.ledger.steps import CAPTIONLESS, IN_BOTH_SPLITS, JOINED
from mmkd.curation.records.notes import fewer_names
from mmkd.curation.rejected_examples import write_rejected_examples
from mmkd.curation.selection import Selection, select
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import AnySource
from mmkd.curation.shard_cache import cache_folder, cache_names, filter_cached_shards, prune, tables
from mmkd.curation.shards import FilteredShard, Hands, filter_shards, write_corpus
from mmkd.curation.sources.kinds import open_source, warnings_of
from mmkd.curation.sources.names import named_sources
from mmkd.curation.sources.wrong_captions import DRAWN, warning_of
from mmkd.distributed import ALONE, World
from mmkd.errors import ConfigError, DataError
from mmkd.executors.executor import Executor
from mmkd.executors.local import LocalExecutor
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import Stage
from mmkd.progress import say
from mmkd.reasons import Reason
from mmkd.settings import Machine

SHARDS = "shards"
LOCAL = LocalExecutor()
NO_INPUTS: Mapping[str, str] = MappingProxyType({})
WHOLE_FOLDERS = ("dicom", "nifti", "folders", "table")  # kinds whose source may be a folder of which all files count
WITHOUT_EFFECT = ("max_rejected", "cache_shards")
"""Settings that change no byte of a corpus, so that a run goes on when they do."""
FEW, MANY = 5, 0.01  # records that are not UTF-8, or their share: up to these it may be damage, more is an encoding
NO_RECORDS = (Reason.OTHER_FILE, Reason.MISSING_PICTURE)
"""Listed, but no part of the records of which at most `max_rejected` may be rejected."""


def curate(
    settings: CurateSettings,
    folder: Path,
    machine: Machine,
    seed: int,
    evaluation_images: ReadEvaluationImages = no_evaluation_images,
    world: World = ALONE,
    executor: Executor = LOCAL,
) -> dict[str, int]:
    """Fill the stage's partial folder with the corpus; returns rows read, kept, rejected and excluded, rows per split,
    and where there are some, those without a caption, those in the group of another with the same picture, and pictures
    in both splits.

    Goes on from the shards that an earlier, killed run left there, and writes the same bytes in any case and with any
    number of workers and processes of the world: those share the shards, and the first does the rest (the others return
    nothing). evaluation_images: that must not be in the corpus. executor: who hands out the shards, by
    itself to `[machine] workers` processes. Raises DataError when more than `max_rejected`
    of the records are rejected or none is left.
    """
    if world.agree((folder / FUNNEL).is_file()):  # written last: an earlier run was killed after everything was done
        if not world.first:
            return {}
        shutil.rmtree(folder / SHARDS, ignore_errors=True)
        return dict(json.loads((folder / FUNNEL).read_text())["total"])
    sources = named_sources(settings)
    if world.first:
        for warning in filter(None, (warning_of(sources), warning_of_dropped(settings.drop_captions))):
            say(warning)
        for warning in (warning for source in sources for warning in warnings_of(source)):
            say(warning)
    shards = _shards(sources, settings, folder)
    filtered = filter_cached_shards if settings.cache_shards else filter_shards
    filtered(shards, settings, Hands(executor, machine.processes, folder))  # processes of the world share by leases
    world.wait()
    if not world.first:
        return {}
    selection = select(shards, settings, evaluation_images(), folder / REJECTED)
    _check(sources, selection, settings.max_rejected, folder / REJECTED)
    splits = write_corpus(folder, shards, selection, settings, seed)
    funnel = _funnel(sources, selection, splits)
    write_rejected_examples(shards, folder, settings)
    write_json(folder / FUNNEL, funnel)
    _say_counts(funnel)
    shutil.rmtree(folder / SHARDS)
    if settings.cache_shards:
        prune(cache_folder(folder), shards)
    return dict(funnel["total"])


def _say_counts(funnel: Mapping[str, Any]) -> None:
    for name, counts in funnel["sources"].items():
        if counts["rejected"]:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts["rejected"].items())
            say(f"{name}: {counts['read']:,} read, {counts['kept']:,} kept; rejected: {reasons}; {REJECTED} says why")
        lost = counts["rejected"].get(Reason.NOT_UTF8, 0)
        if lost > FEW or lost > MANY * counts["read"]:
            say(
                f"WARNING: {name}: {lost:,} of {counts['read']:,} records are left out since their text is not in the "
                "encoding of the table, which is not random (ä, é ...); set encoding of the source, such as "
                'encoding = "cp1252" or "latin-1"'
            )
        for line in notes_in_words(name, counts.get("noted", {})):
            say(line)
        if drawn := counts.get("noted", {}).get(DRAWN):
            say(f"WARNING: {name}: {drawn:,} of {counts['read']:,} captions name a class drawn at random")
    if captionless := funnel["total"].get(CAPTIONLESS):
        say(f"{captionless:,} of {funnel['total']['kept']:,} pictures have no caption")
    if joined := funnel["total"].get(JOINED):
        say(
            f"{joined:,} records without a group have the picture of an earlier record, or of one with a group: they "
            "are in its group"
        )
    if both := funnel["total"].get(IN_BOTH_SPLITS):
        say(
            f"WARNING: {both:,} pictures are in both train and val, since they stand under several groups; give equal "
            'pictures one group, or set [curate.duplicates] near = "drop"'
        )


def corpus_stage(
    folder: Path,
    settings: CurateSettings,
    kept: Mapping[str, Any],
    seed: int,
    evaluation_inputs: Mapping[str, str] = NO_INPUTS,
) -> Stage:
    """The stage that makes a corpus folder. kept: the settings as its manifest keeps them. evaluation_inputs: data set
    -> digest."""
    check_apart(settings, folder)
    outputs = ("data-*.arrow", REJECTED, FUNNEL)
    made_from = {name: value for name, value in _without_unset(kept).items() if name not in WITHOUT_EFFECT}
    inputs = {**tables(), **fingerprints(settings), **evaluation_inputs}
    return Stage("corpus", folder, {**made_from, "seed": seed}, inputs, outputs)


def _without_unset(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without keys of pictures without captions that are not set: folders of releases without these keys
    are the same, also in a pool."""
    found = {name: value for name, value in kept.items() if name != "drop_captions" or value is not None}
    if "sources" in found:
        found["sources"] = [
            {name: value for name, value in source.items() if name != "captionless" or value is not None}
            for source in found["sources"]
        ]
    return found


def check_apart(settings: CurateSettings, folder: Path) -> None:
    """Raises ConfigError where the corpus would lie in the folder of a source, which it would change."""
    for source in named_sources(settings):
        home = source.path
        if source.kind in WHOLE_FOLDERS and isinstance(home, Path) and folder.resolve().is_relative_to(home.resolve()):
            raise ConfigError(
                f"source {source.name!r}: {folder} lies in its folder {home}, of which every file is read or counted; "
                "give an --out elsewhere"
            )


def fingerprints(settings: CurateSettings) -> dict[str, str]:
    """Source name -> fingerprint of what it reads, for the inputs of the stage."""
    return {source.name: open_source(source).fingerprint() for source in named_sources(settings)}


def _shards(sources: Sequence[AnySource], settings: CurateSettings, folder: Path) -> list[FilteredShard]:
    home, cache = folder / SHARDS, cache_folder(folder)
    home.mkdir(exist_ok=True)
    readers = [open_source(source) for source in sources]
    found = [(reader, shard) for reader in readers for shard in reader.shards()]
    cached: list[Path | None] = [None] * len(found)
    if settings.cache_shards:
        cache.mkdir(exist_ok=True)
        cached = [cache / name for name in cache_names(found, settings)]
    return [FilteredShard(number, shard, home, cached[number]) for number, (_, shard) in enumerate(found)]


def _check(sources: Collection[AnySource], selection: Selection, max_rejected: float, listing: Path) -> None:
    for source in sources:
        if not selection.read[source.name]:
            raise DataError(
                f"source {source.name!r}: no record found with include = {source.include}{_part(source)}, which "
                f"excludes {selection.excluded[source.name]:,}; correct it or remove the source"
            )
    rows = {(source.name, Reason.OTHER_FILE) for source in sources if source.kind == "table"}  # a row is a record
    of_records = {key: n for key, n in selection.rejected.items() if key[1] not in NO_RECORDS or key in rows}
    rejected = sum(of_records.values())
    read = selection.read.total() - selection.rejected.total() + rejected
    if rejected <= max_rejected * read and rejected < read:
        return
    per_reason: Counter[str] = Counter()
    for (_, reason), count in (of_records if read else selection.rejected).items():
        per_reason[reason] += count
    commonest = ", ".join(f"{reason} ({count:,})" for reason, count in per_reason.most_common(3))
    further = "with a higher limit the same command goes on from what was read; " if rejected < read else ""
    allowed = f", at most {max_rejected:.0%} are allowed (max_rejected)" if rejected < read else ", so nothing is left"
    counts = f"{rejected:,} of {read:,} records rejected{allowed}" if read else "no record found"
    raise DataError(
        f"{counts}; mostly {commonest}{_example(listing, per_reason)}; {further}all are listed in {listing}"
    )


def _part(source: AnySource) -> str:
    part = getattr(source, "part", None)
    return f" and part = {{ of = {part.of}, take = {part.take} }}" if part else ""


def _example(listing: Path, per_reason: Counter[str]) -> str:
    """What the list says of the first record with the commonest reason: it often names the cure."""
    rows = pq.read_table(listing, columns=["reason", "detail"])
    found = rows.filter(pc.equal(rows["reason"], per_reason.most_common(1)[0][0]))["detail"].to_pylist()
    return f", such as: {found[0]}" if found and found[0] else ""


def _noted(selection: Selection, name: str) -> dict[str, int]:
    return fewer_names({what: count for (source, what), count in sorted(selection.noted.items()) if source == name})


def _funnel(sources: Iterable[AnySource], selection: Selection, splits: dict[str, int]) -> dict[str, Any]:
    per_source = {
        name: {
            "read": selection.read[name],
            "kept": selection.kept[name],
            "rejected": {
                reason: count for (source, reason), count in sorted(selection.rejected.items()) if source == name
            },
            "excluded": selection.excluded[name],
            **({"noted": found} if (found := _noted(selection, name)) else {}),
        }
        for name in (source.name for source in sources)
    }
    counts = {name: getattr(selection, name).total() for name in ("read", "kept", "rejected", "excluded")}
    return {"sources": per_source, "total": {**counts, **splits}}
