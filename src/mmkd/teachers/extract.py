"""The stage `extract`: every teacher's features of a corpus, shard by shard, one folder per teacher."""

import contextlib
import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from mmkd import stage as stages
from mmkd.arrow_folder import arrow_schema, finish, read_shard, write_shard
from mmkd.corpus.schema import Corpus
from mmkd.features.store import SIDES, TeacherFacts, feature_columns, write_facts
from mmkd.progress import say, track
from mmkd.settings import Machine
from mmkd.stage import Stage
from mmkd.teachers.from_models import ModelFeatures
from mmkd.teachers.from_reference import ReferenceFeatures
from mmkd.teachers.settings import LOCAL, ExtractSettings, TeacherSpec

REFERENCE = "reference"


class Producer(Protocol):
    """Where features come from: models that are run, or files that hold them. dims: of each of its K teachers."""

    dims: list[int]

    def tables(self, todo: Sequence[int], rows: np.ndarray) -> list[pa.Table]:
        """Columns id, image, text of the given corpus rows, for the teachers `todo` (places in `dims`)."""
        ...


def feature_stage(spec: TeacherSpec, settings: ExtractSettings, corpus_digest: str, folder: Path) -> Stage:
    """The stage that makes one teacher's folder; a local model's weights count as an input."""
    inputs, described = {"corpus": corpus_digest}, spec.model_dump()
    if spec.model.startswith(LOCAL):
        inputs["weights"] = stages.content_digest(Path(spec.model.removeprefix(LOCAL)), ("*.safetensors",))
        described["model"] = LOCAL  # known by its weights, wherever it lies
    return Stage(
        kind="features",
        folder=folder / spec.name,
        settings={**described, "precision": settings.precision, "shard_rows": settings.shard_rows},
        inputs=inputs,
        outputs=("data-*.arrow",),
    )


def extract(
    specs: Sequence[TeacherSpec],
    settings: ExtractSettings,
    corpus_folder: Path,
    folder: Path,
    machine: Machine,
    force: bool = False,
) -> None:
    """Publish `folder/<teacher>/` for every teacher; finished ones are skipped, half-finished ones go on.

    Raises ModelError or DataError before any work when a teacher cannot be had.
    """
    corpus = Corpus(corpus_folder)
    with contextlib.ExitStack() as owned:
        pending = []
        for spec in specs:
            stage = feature_stage(spec, settings, corpus.digest, folder)
            owned.enter_context(stages.sole_owner(stage.folder))
            if stages.begin(stage, force) is None:
                pending.append((spec, stage))
            else:
                say(f"features: {stage.folder} is complete, skipped")
        for producer, group in _producers(pending, corpus, settings, machine):
            start = time.perf_counter()
            _write_shards(producer, [stage.partial for _, stage in group], corpus, settings)
            _publish_all(group, producer.dims, corpus, time.perf_counter() - start)


Pending = Sequence[tuple[TeacherSpec, Stage]]


def _producers(
    pending: Pending, corpus: Corpus, settings: ExtractSettings, machine: Machine
) -> list[tuple[Producer, Pending]]:
    """All models together, so that images are decoded once; the files of each reference folder together."""

    def origin(item: tuple[TeacherSpec, Stage]) -> str:
        return item[0].model if item[0].library == REFERENCE else ""

    found: list[tuple[Producer, Pending]] = []
    for model, items in itertools.groupby(sorted(pending, key=origin), key=origin):
        group = list(items)
        specs = [spec for spec, _ in group]
        producer: Producer = (
            ReferenceFeatures(Path(model), [spec.name for spec in specs], corpus)
            if model
            else ModelFeatures(specs, corpus, settings, machine)
        )
        found.append((producer, group))
    return found


def _write_shards(producer: Producer, targets: Sequence[Path], corpus: Corpus, settings: ExtractSettings) -> None:
    starts = list(range(0, len(corpus), settings.shard_rows))
    for number, first in enumerate(track(starts, "extract", len(corpus), "pairs", weight=settings.shard_rows)):
        name = f"data-{number:05d}-of-{len(starts):05d}.arrow"
        todo = [k for k, target in enumerate(targets) if not (target / name).is_file()]
        if todo:
            rows = np.arange(first, min(first + settings.shard_rows, len(corpus)))
            for k, table in zip(todo, producer.tables(todo, rows), strict=True):
                write_shard(targets[k] / name, arrow_schema(feature_columns(producer.dims[k])), [table])


def _publish_all(group: Pending, dims: Sequence[int], corpus: Corpus, wall_s: float) -> None:
    for (spec, stage), dim in zip(group, dims, strict=True):
        write_facts(stage.partial, TeacherFacts(spec.name, dim, spec.licence, spec.model))
        shards = sorted(path.name for path in stage.partial.glob("data-*.arrow"))
        identity = hashlib.sha256(repr(stage.made_from).encode()).hexdigest()
        finish(stage.partial, feature_columns(dim), shards, identity)
        counts = _count(stage.partial, shards)
        if counts["null"]:
            say(f"  {spec.name}: {counts['null']:,} of {len(corpus):,} rows have no features")
        stages.publish(stage, counts, wall_s)


def _count(target: Path, shards: Sequence[str]) -> Mapping[str, int]:
    tables = [read_shard(target / name) for name in shards]
    return {
        "rows": sum(table.num_rows for table in tables),
        "null": sum(max(table.column(side).null_count for side in SIDES) for table in tables),
    }
