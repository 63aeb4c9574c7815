"""Extraction in units that an executor hands out: a shard, by the teachers that fit into memory together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import torch

from mmkd.corpus.schema import Corpus
from mmkd.device import prepare
from mmkd.executors.executor import Executor
from mmkd.executors.failures import raise_failed
from mmkd.executors.plan import notes_of
from mmkd.executors.resident import resident
from mmkd.executors.unit import Outcome, Resources, Unit, gpus_of, unit_id
from mmkd.features.engine import ModelFeatures
from mmkd.features.from_reference import ReferenceFeatures
from mmkd.features.store import Producer, Shard, TeacherFacts, feature_columns
from mmkd.folders.arrow import arrow_schema, write_shard
from mmkd.folders.stage import Stage
from mmkd.progress import track
from mmkd.settings import Machine
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import REFERENCE, ExtractSettings, TeacherSpec


@dataclass(frozen=True)
class Group:
    """Teachers that a worker keeps loaded together, what their folders say of them, and their partial folders.

    key: of all that they are made from.
    """

    key: str
    specs: tuple[TeacherSpec, ...]
    facts: tuple[TeacherFacts, ...]
    partials: tuple[Path, ...]
    corpus: Path
    settings: ExtractSettings
    machine: Machine

    def load(self) -> Producer:
        """The teachers on this process's device, or what reads their stored features."""
        corpus = Corpus(self.corpus)
        if self.specs[0].library == REFERENCE:
            return ReferenceFeatures(Path(self.specs[0].model), [spec.name for spec in self.specs], corpus)
        device = prepare(self.machine)
        teachers = [load_teacher(spec, device, self.settings.precision) for spec in self.specs]
        return ModelFeatures(teachers, corpus, self.settings, self.machine.loaders, stays=True)


def hand_out(
    items: Sequence[tuple[TeacherSpec, Stage]],
    facts: Sequence[TeacherFacts],
    shards: Sequence[Shard],
    corpus: Corpus,
    settings: ExtractSettings,
    machine: Machine,
    executor: Executor,
) -> None:
    """Have the shards' missing files written. items: the teachers of a group. Raises what a unit could not mend."""
    made_from = [stage.made_from for _, stage in items]
    specs, partials = tuple(spec for spec, _ in items), tuple(stage.partial for _, stage in items)
    key = unit_id(made_from, settings.batch_size)
    group = Group(key, specs, tuple(facts), partials, corpus.folder, settings, machine)
    units = [
        Unit(
            unit_id([made_from[k] for k in shard.todo], shard.name),
            f"features of {shard.name}",
            partials[shard.todo[-1]] / shard.name,  # the last one that is written
            (group, shard),
            group.key,
        )
        for shard in shards
    ]
    needs = Resources(cpus=1 + machine.loaders, gpus=gpus_of(machine.device, torch.cuda.is_available()))
    notes = notes_of(partials[0].parent, f"extract-{group.key[:8]}")
    failed: list[Outcome] = []
    for outcome in track(executor.map(units, extract_shard, notes, needs), "extract", len(units), "shards"):
        failed += [outcome] if outcome.problem else []
    raise_failed(failed)


def extract_shard(work: tuple[Group, Shard]) -> None:
    """Write one shard's features of the teachers that lack it."""
    group, shard = work
    producer = resident(group.key, group.load)
    for made, tables in producer.produce([shard]):
        write_tables(made, tables, group.facts, group.partials)


def write_tables(
    shard: Shard, tables: Sequence[pa.Table], facts: Sequence[TeacherFacts], partials: Sequence[Path]
) -> None:
    """A file for each teacher of the shard's `todo`, in this order. facts, partials: of all K teachers."""
    for k, table in zip(shard.todo, tables, strict=True):
        columns = feature_columns(facts[k].dim, facts[k].patch_numbers)
        write_shard(partials[k] / shard.name, arrow_schema(columns), [table])
