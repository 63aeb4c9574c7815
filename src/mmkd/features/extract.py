"""The stage `extract`: every teacher's features of a corpus, shards x teachers, one folder per teacher.

Under torchrun, rank 0 decides what is to do and publishes, and rank r of W writes the shards r, r + W, ... of it.
"""

import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.device import prepare
from mmkd.distributed import ALONE, World
from mmkd.errors import ModelError
from mmkd.features.engine import Clock, ModelFeatures, resident
from mmkd.features.from_reference import ReferenceFeatures
from mmkd.features.shards import Producer, Shard
from mmkd.features.store import SIDES, TeacherFacts, feature_columns, write_facts
from mmkd.folders import stage as stages
from mmkd.folders.arrow import arrow_schema, finish, read_shard, write_shard
from mmkd.folders.locks import sole_owner
from mmkd.folders.stage import Stage
from mmkd.progress import say
from mmkd.settings import Machine
from mmkd.teachers.load import identity
from mmkd.teachers.zoo.entry import zoo_entry
from mmkd.teachers.zoo.licences import refuse_licences
from mmkd.teachers.zoo.settings import LOCAL, REFERENCE, ZOO, ExtractSettings, TeacherSpec

BEHAVIOUR = {
    *("adapter", "architecture", "config", "bert", "layout", "preprocess", "padding", "context_length", "dim"),
}
WHEREABOUTS = ("weights", "revision")  # what lies there is known by its digest, wherever it lies


Pending = Sequence[tuple[TeacherSpec, Stage]]


def feature_stage(spec: TeacherSpec, settings: ExtractSettings, corpus_digest: str, folder: Path) -> Stage:
    """The stage that makes one teacher's folder; what the teacher is made of counts as an input.

    Where the weights are gone, a finished folder's own word for them is taken: features outlive their teachers.
    """
    target = folder / spec.name
    inputs, described = {"corpus": corpus_digest}, spec.model_dump(exclude=set(WHEREABOUTS), exclude_none=True)
    try:
        weights = identity(spec)
    except ModelError:
        if not (target / stages.MANIFEST).is_file():
            raise
        weights = stages.read_manifest(target)["inputs"].get("weights", "")
    if weights:
        inputs["weights"] = weights
    if spec.model.startswith(LOCAL):
        described["model"] = LOCAL
    if spec.library == ZOO:  # what the zoo says of it decides its vectors as much as the weights do
        facts = zoo_entry(spec.model, spec.variant).model_dump_json(include=BEHAVIOUR)
        described["entry"] = hashlib.sha256(facts.encode()).hexdigest()[:16]
    kept = {**described, "precision": settings.precision, "shard_rows": settings.shard_rows}
    return Stage("features", target, kept, inputs, ("data-*.arrow",))


def extract(
    specs: Sequence[TeacherSpec],
    settings: ExtractSettings,
    corpus_folder: Path,
    folder: Path,
    machine: Machine,
    force: bool = False,
    world: World = ALONE,
) -> list[Clock]:
    """Publish `folder/<teacher>/` for every teacher; finished ones are skipped, half-finished ones go on.

    Returns where this process's time went, one clock for each group of models that was resident together. Raises
    ConfigError for a licence that the settings do not allow, and ModelError or DataError, before any work, when a
    teacher cannot be had.
    """
    refuse_licences(specs, settings.licence)
    corpus = Corpus(corpus_folder)
    with contextlib.ExitStack() as owned:
        pending: Pending = []
        if world.first:
            made = _stages(specs, settings, corpus.digest, folder)
            pending = [item for item in made if _begin(item[1], force, owned)]
        pending = world.agree(pending)
        clocks = []
        for producer, group in _producers(pending, corpus, settings, machine, world):
            start = time.perf_counter()
            shards = world.share(world.agree(_missing(group, len(corpus), settings.shard_rows)))
            _write_shards(producer, group, shards)
            if isinstance(producer, ModelFeatures):
                producer.clock.tick()
                clocks.append(producer.clock)
                say(f"  {_who(world)}{producer.clock}")
            world.wait()
            if world.first:
                _publish_all(group, producer, corpus, time.perf_counter() - start)
            del producer  # so that the next group finds its memory free
        world.wait()
    return clocks


def _stages(specs: Sequence[TeacherSpec], settings: ExtractSettings, corpus: str, folder: Path) -> Pending:
    """Every teacher's stage; what all of them lack is reported at once."""
    made, missing = [], []
    for spec in specs:
        try:
            made.append((spec, feature_stage(spec, settings, corpus, folder)))
        except ModelError as error:
            missing.append(str(error))
    if missing:
        raise ModelError("\n".join(missing))
    return made


def _begin(stage: Stage, force: bool, owned: contextlib.ExitStack) -> bool:
    """Whether the stage is to be worked on; then its folder is ours until `owned` closes."""
    owned.enter_context(sole_owner(stage.folder))
    if stages.begin(stage, force) is None:
        return True
    say(f"features: {stage.folder} is complete, skipped")
    return False


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


def _write_shards(producer: Producer, group: Pending, shards: Sequence[Shard]) -> None:
    for shard, tables in producer.produce(shards):
        for k, table in zip(shard.todo, tables, strict=True):
            write_shard(group[k][1].partial / shard.name, arrow_schema(feature_columns(producer.dims[k])), [table])


def _publish_all(group: Pending, producer: Producer, corpus: Corpus, wall_s: float) -> None:
    for k, (spec, stage) in enumerate(group):
        write_facts(stage.partial, _facts(spec, k, producer))
        shards = sorted(path.name for path in stage.partial.glob("data-*.arrow"))
        identity_of_content = hashlib.sha256(json.dumps(stage.made_from).encode()).hexdigest()
        finish(stage.partial, feature_columns(producer.dims[k]), shards, identity_of_content)
        counts = _count(stage.partial, shards)
        if counts["null"]:
            say(f"  {spec.name}: {counts['null']:,} of {len(corpus):,} rows have no features; column reason says why")
        stages.publish(stage, counts, wall_s)


def _facts(spec: TeacherSpec, k: int, producer: Producer) -> TeacherFacts:
    towers = producer.teachers[k].towers if isinstance(producer, ModelFeatures) else None
    return TeacherFacts(
        spec.name,
        producer.dims[k],
        spec.licence,
        spec.model,
        spec.variant or "",
        towers.revision if towers else "",
        towers.weights if towers else "",
    )


def _count(target: Path, shards: Sequence[str]) -> Mapping[str, int]:
    tables = [read_shard(target / name) for name in shards]
    return {
        "rows": sum(table.num_rows for table in tables),
        "null": sum(max(table.column(side).null_count for side in SIDES) for table in tables),
    }


def _who(world: World) -> str:
    return f"rank {world.rank} of {world.size}: " if world.size > 1 else ""
