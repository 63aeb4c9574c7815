"""What a whole recipe costs: all stages from the extraction to the evaluation, counted without weights or a network."""

import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmkd.corpus.schema import Corpus
from mmkd.device import prepare
from mmkd.errors import ConfigError, ModelError
from mmkd.features.plan import CAPTION_TOKENS, ID_BYTES, VECTOR_BYTES, lengths, pair_bytes, plan_extraction
from mmkd.folders.stage import status
from mmkd.pipeline.evaluation_cost import EvaluationPlan, plan_evaluation
from mmkd.pipeline.recipe import Recipe
from mmkd.pipeline.run import Run
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.teachers.weightless import TeacherCount, count_teacher
from mmkd.teachers.zoo.settings import REFERENCE, ZOO, TeacherSpec
from mmkd.training import plan as training

if TYPE_CHECKING:
    from mmkd.training.settings.train import TrainSettings

IMAGE_BYTES = 50_000.0  # of a figure as a corpus stores it; used where there is no corpus
GPUS_A_NODE = 8
GIGA = 1e9


@dataclass(frozen=True)
class Data:
    """pairs: of the corpus; train: of its split, captioned: those of them that have a caption. bytes: of a pair in the
    corpus and of an id in the features."""

    pairs: int
    train: int
    captioned: int
    tokens: int
    corpus_bytes: float
    id_bytes: float


@dataclass(frozen=True)
class RunPlan:
    """storage: name -> GB. micro_batch: stage -> largest one that fits, without and with grad_checkpointing."""

    recipe: str
    hardware: training.Hardware
    data: Data
    student: training.StudentCount
    teachers: list[TeacherCount]
    extraction_hours: float
    stages: list[training.StagePlan]
    memory: list[training.MemoryPlan]
    micro_batch: dict[str, tuple[int, int]]
    evaluation: EvaluationPlan
    storage: dict[str, float]
    assumptions: list[str]
    commands: list[str]


def plan_run(
    run: Run, recipe_file: Path, hardware: training.Hardware, pairs: int | None, tokens: int | None
) -> RunPlan:
    """The plan of a recipe. Raises ConfigError when the number of pairs is not known."""
    recipe, assumptions = run.recipe, _common(hardware)
    data = _data(run, pairs, tokens, assumptions)
    teachers = _teachers(run, data, assumptions)
    trained, student = recipe.trainings, _count_once(recipe, data.tokens)
    stages, memory, micro_batch = [], [], {}
    for name, settings in trained.items():
        counted = student(settings)
        dims = [] if is_contrastive(settings) else [one.dim for one in teachers]
        count = data.train if getattr(settings, "draws_captions", False) else data.captioned
        stages.append(training.plan_stage(name, settings, count, counted, dims, recipe.machine, hardware))
        memory.append(training.plan_memory(name, settings, counted, dims, recipe.machine, hardware))
        micro_batch[name] = (
            training.largest_micro_batch(settings, counted, dims, recipe.machine, hardware, checkpointing=False),
            training.largest_micro_batch(settings, counted, dims, recipe.machine, hardware, checkpointing=True),
        )
    shown = student(recipe.distill)
    assumptions += _of_stages(trained, hardware, shown)
    assumptions += _of_patches(recipe, data, teachers)
    assumptions.append(_of_reliability(recipe.reliability, [one.dim for one in teachers]))
    return RunPlan(
        recipe=recipe.name,
        hardware=hardware,
        data=data,
        student=shown,
        teachers=teachers,
        extraction_hours=hardware.hours(data.pairs * sum(one.gflop for one in teachers)),
        stages=stages,
        memory=memory,
        micro_batch=micro_batch,
        evaluation=plan_evaluation(
            recipe.evaluate,
            [one.gflop for one in teachers],
            shown.image_gflop,
            len(run.students),
            hardware,
            assumptions,
        ),
        storage=_storage(recipe, data, teachers, shown.parameters),
        assumptions=assumptions,
        commands=started(recipe_file, hardware.gpus),
    )


def _count_once(recipe: Recipe, tokens: int) -> Callable[["TrainSettings"], training.StudentCount]:
    """Stages with the same settings of the student share its count."""
    known: dict[tuple[int, str, bool], training.StudentCount] = {}

    def count(settings: "TrainSettings") -> training.StudentCount:
        key = (settings.text_buckets, settings.precision, training.follows_patches(settings))
        if key not in known:
            known[key] = training.count_student(recipe.student, settings, tokens, recipe.extract.patches)
        return known[key]

    return count


def is_contrastive(settings: "TrainSettings") -> bool:
    """Whether a training uses captions only: stage 1, and a stage 2 with the same loss."""
    return getattr(settings, "objective", "contrastive") == "contrastive"


def started(recipe: Path, gpus: int) -> list[str]:
    """The commands that use all GPUs: one for a machine, one a stage with torchrun for several."""
    nodes, file = math.ceil(gpus / GPUS_A_NODE), shlex.quote(str(recipe))
    if nodes == 1:
        return [f"mmkd run {file}" + (f" --gpus {gpus} --workers {gpus}" if gpus > 1 else "")]
    several = f"--nnodes {nodes} --rdzv-backend c10d --rdzv-endpoint HOST:29500 --nproc-per-node {GPUS_A_NODE}"
    return [f"torchrun {several} -m mmkd {stage} {file}" for stage in ("extract", "pretrain", "distill")]


def _common(hardware: training.Hardware) -> list[str]:
    return [
        f"{100 * hardware.mfu:g} % of {hardware.tflops:g} TFLOP/s is reached on each of {hardware.gpus} GPUs, and "
        "decoding keeps pace",
        "training is three times the forward pass, and once more for grad_checkpointing and for micro_batch",
        "activations are what autograd keeps, counted on tensors without values with attention that keeps no matrix; "
        "masks of dropout and heads of the objective are left out",
        f"{100 * training.USABLE:g} % of a GPU's memory is usable",
    ]


def _data(run: Run, pairs: int | None, tokens: int | None, assumptions: list[str]) -> Data:
    folder = run.out / "corpus"
    corpus = Corpus(folder) if status(folder) == "complete" else None
    if corpus is None and pairs is None:
        raise ConfigError(f"no finished corpus in {run.out}, so its pairs are not known; give --pairs")
    id_bytes, caption_tokens = lengths(corpus) if corpus else (ID_BYTES, CAPTION_TOKENS)
    size = IMAGE_BYTES
    if corpus:
        size = sum(path.stat().st_size for path in folder.glob("data-*.arrow")) / len(corpus)
    else:
        assumptions.append(f"no finished corpus: {IMAGE_BYTES / 1e3:g} KB a pair in it")
    if tokens is None:
        source = "counted in the corpus" if corpus else "of figure captions, 40 words"
        assumptions.append(f"a caption has {caption_tokens} tokens on average ({source}); --tokens changes it")
    if corpus and pairs is None:
        train, captioned = len(corpus.rows("train")), len(corpus.pairs("train"))
        return Data(len(corpus), train, captioned, tokens or caption_tokens, size, id_bytes)
    count = pairs or 0
    assumptions.append(f"{100 * run.recipe.curate.val:g} % of the pairs go to the split val, as [curate] val says")
    train = count - round(run.recipe.curate.val * count)
    return Data(count, train, train, tokens or caption_tokens, size, id_bytes)


def _teachers(run: Run, data: Data, assumptions: list[str]) -> list[TeacherCount]:
    found = []
    for spec in run.teachers:
        if spec.library == REFERENCE:
            assumptions.append(f"teacher {spec.name}: its stored features are read, which costs nothing")
            continue
        try:
            found.append(_teacher(run, spec, data.tokens))
        except ModelError as error:
            assumptions.append(f"teacher {spec.name} is not counted: {error}")
    return found


def _teacher(run: Run, spec: TeacherSpec, tokens: int) -> TeacherCount:
    """The zoo's are counted without weights; others have to be there, as for the extraction's own plan."""
    if spec.library == ZOO:
        return count_teacher(spec, tokens, run.recipe.extract.patches)
    (one,) = plan_extraction([spec], run.recipe.extract, 1, prepare(run.recipe.machine)).teachers
    return TeacherCount(one.name, one.dim, one.gflop, one.patch_width)


def _of_reliability(settings: ReliabilitySettings, dims: Sequence[int]) -> str:
    """What the reliability takes, which no GPU computes: its rank test, there and back, and the fits of the stacks."""
    rank_test = 2 * 2 * settings.rows * settings.rivals * sum(dims) / GIGA
    test = f"the rank test of a group of {settings.rows:,} pairs is {rank_test:,.1f} giga-operations"
    if settings.method == "rank":
        return f"reliability is computed on the CPU and not in the hours: {test}"
    return (
        f"reliability is computed on the CPU and not in the hours: {test}, and its stack has {settings.bootstrap:,} "
        f"replicates of a fit of {len(dims)} weights on at most {settings.stack_rows:,} pairs"
    )


def _of_patches(recipe: Recipe, data: Data, teachers: Sequence[TeacherCount]) -> Iterator[str]:
    """Who stores no patches, and what a term that follows them reads, which no GPU computes."""
    if not recipe.extract.patches:
        return
    if without := [one.name for one in teachers if not one.patch_width]:
        yield f"{', '.join(without)}: no patches on a grid of side {recipe.extract.patches}, so none are stored"
    if following := [name for name, one in recipe.trainings.items() if training.follows_patches(one)]:
        size = data.train * sum(VECTOR_BYTES * _patch_numbers(recipe, one) for one in teachers) / GIGA
        yield (
            f"the term patches ({', '.join(following)}) reads {size:,.1f} GB of stored patches in an epoch; their "
            "cosines are computed on the CPUs that read them, and are not in the hours"
        )


def _patch_numbers(recipe: Recipe, teacher: TeacherCount) -> int:
    """Of a picture."""
    return recipe.extract.patches**2 * teacher.patch_width


def _of_stages(
    trained: Mapping[str, "TrainSettings"], hardware: training.Hardware, student: training.StudentCount
) -> Iterator[str]:
    if student.assumed:
        yield student.assumed
    if padded := [name for name, settings in trained.items() if training.pads_fully(settings, student.context)]:
        yield (
            f"one group of captions ({', '.join(padded)}): every caption is as wide as the longest of its batch, taken "
            f"as the context of {student.context} tokens; with more text_buckets, {student.tokens} tokens"
        )
    for name, settings in trained.items():
        if settings.batch_size % hardware.gpus:
            yield f"{name}: batch_size {settings.batch_size} is no multiple of {hardware.gpus} GPUs; the fullest counts"


def _storage(recipe: Recipe, data: Data, teachers: Sequence[TeacherCount], parameters: int) -> dict[str, float]:
    trained = recipe.trainings
    return {
        "corpus": data.pairs * data.corpus_bytes / GIGA,
        "features": data.pairs
        * sum(pair_bytes(one.dim, data.id_bytes, _patch_numbers(recipe, one)) for one in teachers)
        / GIGA,
        "checkpoints": max(training.checkpoint_bytes(one, parameters) for one in trained.values()) / GIGA,
        "students": (len(trained) + 1) * training.FLOAT * parameters / GIGA,
    }
