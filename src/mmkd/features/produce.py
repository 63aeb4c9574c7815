"""Teachers' features of the shards that are missing, written and published."""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkd.corpus.schema import Corpus
from mmkd.device import prepare
from mmkd.distributed import World
from mmkd.executors.executor import Executor
from mmkd.executors.local import is_in_process
from mmkd.features.engine import Clock, ModelFeatures, resident
from mmkd.features.from_reference import ReferenceFeatures
from mmkd.features.hand_out import hand_out, write_tables
from mmkd.features.store import NO_CAPTION, REASON, Producer, Shard, TeacherFacts, feature_columns, write_facts
from mmkd.folders import stage as stages
from mmkd.folders.arrow import finish, read_shard
from mmkd.folders.digests import json_digest
from mmkd.folders.stage import Stage
from mmkd.images.transform import seen_part
from mmkd.progress import say
from mmkd.settings import Machine
from mmkd.teachers.zoo.settings import LOCAL, REFERENCE, ExtractSettings, TeacherSpec

Pending = Sequence[tuple[TeacherSpec, Stage]]


def produce(
    pending: Pending, settings: ExtractSettings, corpus: Corpus, machine: Machine, world: World, executor: Executor
) -> list[Clock]:
    """Publish the folders of these teachers; returns a clock for each group of models that this process has run.

    Processes of the world, and a single one, read and decode ahead from shard to shard. An executor's workers take a
    shard at a time; this process then loads the teachers once, to see which of them fit into memory together and that
    all of them load, and lets them go.
    """
    clocks = []
    for producer, group in _producers(pending, corpus, settings, machine, world):
        start = time.perf_counter()
        facts = [_facts(spec, k, producer, settings.patches) for k, (spec, _) in enumerate(group)]
        if settings.patches and world.first:
            for reason in producer.patchless:
                say(f"  stored without patches: {reason}")
        missing = world.agree(_missing(group, len(corpus), settings.shard_rows))
        if world.size > 1 or is_in_process(executor):
            for shard, tables in producer.produce(world.share(missing)):
                write_tables(shard, tables, facts, [stage.partial for _, stage in group])
            if isinstance(producer, ModelFeatures):
                producer.clock.tick()
                clocks.append(producer.clock)
                say(f"  {_who(world)}{producer.clock}")
        else:
            if isinstance(producer, ModelFeatures):
                producer.teachers = []  # the workers load them
            hand_out(group, facts, missing, corpus, settings, machine, executor)
        world.wait()
        if world.first:
            _publish_all(group, facts, corpus, time.perf_counter() - start)
        del producer  # so that the next group finds its memory free
    return clocks


def _producers(
    pending: Pending, corpus: Corpus, settings: ExtractSettings, machine: Machine, world: World
) -> Iterator[tuple[Producer, Pending]]:
    """Models in groups that fit into memory, images decoded once for a group; each reference folder by itself."""
    models = [item for item in pending if item[0].library != REFERENCE]
    if models:
        device = prepare(machine, world.local_rank if world.size > 1 else None)
        for places, producer in resident([spec for spec, _ in models], corpus, settings, machine, device):
            producer.label = _who(world) + producer.label
            yield producer, [models[k] for k in places]
            del producer
    stored = sorted((item for item in pending if item[0].library == REFERENCE), key=lambda item: item[0].model)
    for model, items in itertools.groupby(stored, key=lambda item: item[0].model):
        group = list(items)
        yield ReferenceFeatures(Path(model), [spec.name for spec, _ in group], corpus), group


def _missing(group: Pending, rows: int, shard_rows: int) -> list[Shard]:
    """The shards that some teacher of the group lacks."""
    starts = range(0, rows, shard_rows)
    shards = []
    for number, first in enumerate(starts):
        name = f"data-{number:05d}-of-{len(starts):05d}.arrow"
        todo = tuple(k for k, (_, stage) in enumerate(group) if not (stage.partial / name).is_file())
        if todo:
            shards.append(Shard(name, np.arange(first, min(first + shard_rows, rows)), todo))
    return shards


def _publish_all(group: Pending, facts: Sequence[TeacherFacts], corpus: Corpus, wall_s: float) -> None:
    for (spec, stage), known in zip(group, facts, strict=True):
        write_facts(stage.partial, known)
        shards = sorted(path.name for path in stage.partial.glob("data-*.arrow"))
        finish(stage.partial, feature_columns(known.dim, known.patch_numbers), shards, json_digest(stage.made_from))
        tables = [read_shard(stage.partial / name) for name in shards]
        null = sum(map(_failed, tables))
        counts = {"rows": sum(table.num_rows for table in tables), "null": null}
        if null:
            say(f"  {spec.name}: {null:,} of {len(corpus):,} rows have no features; column reason says why")
        stages.publish(stage, counts, wall_s)


def _failed(table: pa.Table) -> int:
    """Rows without a vector that they should have."""
    return int(pc.sum(pc.not_equal(table.column(REASON), NO_CAPTION)).as_py() or 0)


def _facts(spec: TeacherSpec, k: int, producer: Producer, grid: int) -> TeacherFacts:
    facts = TeacherFacts(spec.name, producer.dims[k], spec.licence, _without_its_place(spec.model), spec.variant or "")
    if not isinstance(producer, ModelFeatures):
        return facts
    towers = producer.teachers[k].towers
    if producer.patch_widths[k]:
        view = seen_part(towers.transform)
        facts = replace(facts, grid=grid, patch_width=producer.patch_widths[k], view=view)
    return replace(facts, revision=towers.revision, weights=towers.weights)


def _without_its_place(model: str) -> str:
    """A model that is a folder by the folder's name: the same features lie the same wherever the folder does."""
    place = Path(model.removeprefix(LOCAL))
    return model.removesuffix(str(place)) + place.name if place.is_absolute() else model


def _who(world: World) -> str:
    return f"rank {world.rank} of {world.size}: " if world.size > 1 else ""
