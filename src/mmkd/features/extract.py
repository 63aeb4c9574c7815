"""The stage `extract`: every teacher's features of a corpus, shards x teachers, one folder per teacher.

Under torchrun, rank 0 decides what is to do and publishes, and rank r of W writes the shards r, r + W, ... of it.
"""

import contextlib
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd.corpus.schema import Corpus
from mmkd.distributed import ALONE, World
from mmkd.errors import ModelError
from mmkd.executors.executor import Executor
from mmkd.executors.local import LocalExecutor
from mmkd.folders import stage as stages
from mmkd.folders.digests import bytes_digest
from mmkd.folders.locks import sole_owner
from mmkd.folders.stage import Stage, digest_of
from mmkd.progress import say
from mmkd.settings import Machine
from mmkd.teachers.files.identity import identity
from mmkd.teachers.zoo.entry import zoo_entry
from mmkd.teachers.zoo.licences import refuse_licences
from mmkd.teachers.zoo.settings import LOCAL, ZOO, ExtractSettings, TeacherSpec

if TYPE_CHECKING:
    from mmkd.features.engine import Clock

BEHAVIOUR = {*("adapter", "architecture", "config", "bert", "layout", "preprocess", "padding", "context_length", "dim")}
LOCAL_EXECUTOR = LocalExecutor()
WHEREABOUTS = ("weights", "revision")  # what lies there is known by its digest, wherever it lies


Pending = Sequence[tuple[TeacherSpec, Stage]]


def feature_stage(
    spec: TeacherSpec,
    settings: ExtractSettings,
    corpus_digest: str,
    folder: Path,
    kept: Callable[[Any], Any] = copy,
) -> Stage:
    """The stage that makes one teacher's folder; what the teacher is made of counts as an input. kept: see `Stage`.

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
        described["entry"] = bytes_digest(facts.encode())[:16]
    described |= {"precision": settings.precision, "shard_rows": settings.shard_rows}
    if settings.patches:  # a folder without them is the one that it was before there were any
        described["patches"] = settings.patches
    return Stage("features", target, kept(described), inputs, ("data-*.arrow",), kept=kept)


def extract(
    specs: Sequence[TeacherSpec],
    settings: ExtractSettings,
    corpus_folder: Path,
    folder: Path,
    machine: Machine,
    force: bool = False,
    world: World = ALONE,
    kept: Callable[[Any], Any] = copy,
    executor: Executor = LOCAL_EXECUTOR,
) -> "list[Clock]":
    """Publish `folder/<teacher>/` for every teacher; finished ones are skipped, half-finished ones go on.

    executor: who hands out the shards; under torchrun its processes share them. Returns where this process's time went,
    one clock for each group of models that it had resident together. Raises
    ConfigError for a licence that the settings do not allow, and ModelError or DataError, before any work, when a
    teacher cannot be had.
    """
    refuse_licences(specs, settings.licence)
    with contextlib.ExitStack() as owned:
        pending: Pending = []
        if world.first:
            made = _stages(specs, settings, digest_of(corpus_folder), folder, kept)
            pending = [item for item in made if _begin(item[1], force, owned)]
        pending = world.agree(pending)
        clocks = []
        if pending:
            from mmkd.features.produce import produce  # loads torch, which finding everything finished does without

            clocks = produce(pending, settings, Corpus(corpus_folder), machine, world, executor)
        world.wait()
    return clocks


def _stages(
    specs: Sequence[TeacherSpec], settings: ExtractSettings, corpus: str, folder: Path, kept: Callable[[Any], Any]
) -> Pending:
    """Every teacher's stage; what all of them lack is reported at once."""
    made, missing = [], []
    for spec in specs:
        try:
            made.append((spec, feature_stage(spec, settings, corpus, folder, kept)))
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
