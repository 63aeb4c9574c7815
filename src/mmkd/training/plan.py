"""What a training will cost, before it is begun: steps, operations, hours, memory, storage. Arithmetic on counts.

Letters: B pairs of a process, K pairs of all processes, D student dimension, L tokens, W GPUs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmkd.errors import ConfigError, ModelError
from mmkd.settings import Machine
from mmkd.student.build import start_of
from mmkd.student.settings import StudentSettings
from mmkd.teachers.adapters.open_clip import encode_text
from mmkd.teachers.encoders.patches import patches_of_tower
from mmkd.teachers.files.open_clip_folder import build_network
from mmkd.teachers.weightless import CHANNELS, bert_at_hand, gflop_of, weightless
from mmkd.training.data.order import Order
from mmkd.training.engine import transformer_blocks
from mmkd.training.losses.memory import CELLS
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.tables import TERMS
from mmkd.training.settings.train import TrainSettings

TRAINING = 3  # times the forward pass: the gradients of inputs and of weights cost as much each
FLOAT = 4  # bytes of a weight, a gradient and each of AdamW's two moments
CHUNKS = 10  # matrices of CELLS that a loss holds at once, see `mmkd.training.losses.memory`
USABLE = 0.9  # of a GPU's memory: the rest is the driver's, or lost between blocks
GIGA, TERA, HOUR = 1e9, 1e12, 3600


@dataclass(frozen=True)
class Hardware:
    """gpus: W. tflops: peak of one in training's precision. mfu: share of it that is reached. memory_gb: of one."""

    gpus: int
    tflops: float
    mfu: float = 0.4
    memory_gb: float = 80.0

    def hours(self, gflop: float) -> float:
        """For so many giga-operations, on all GPUs."""
        return gflop * GIGA / (self.gpus * self.tflops * TERA * self.mfu) / HOUR


@dataclass(frozen=True)
class StudentCount:
    """Of one pair in the forward pass. text_gflop: of a caption of `tokens`, context_gflop: of `context` tokens.

    kept_bytes: what the backward pass needs, at the width that `training_tokens` gives. block_bytes: the inputs of the
    transformers' blocks, which is what grad_checkpointing keeps; blocks: their number, 0 where there are none.
    patches, patch_width: those of a picture that a term follows, and numbers of each; 0 where none does.
    """

    parameters: int
    dim: int
    tokens: int
    context: int
    image_gflop: float
    text_gflop: float
    context_gflop: float
    kept_bytes: float
    block_bytes: float
    blocks: int
    assumed: str = ""
    patches: int = 0
    patch_width: int = 0

    def forward_gflop(self, settings: TrainSettings) -> float:
        """As the stage pads its captions."""
        return self.image_gflop + (self.context_gflop if pads_fully(settings, self.context) else self.text_gflop)


def pads_fully(settings: TrainSettings, context: int) -> bool:
    """With one group of captions a batch is as wide as its longest one, which among hundreds fills the context."""
    return settings.groups(context) == 1


def count_student(student: StudentSettings, train: TrainSettings, caption_tokens: int, grid: int = 0) -> StudentCount:
    """Count a student without weights, whatever it would start from.

    grid: side of the teachers' grid of patches. Raises ConfigError for an impossible config, and where a term follows
    patches that the student does not give.
    """
    own = student.model is not None or student.config is not None
    random = {"weights": None, "pretrained_towers": False, **({"pretrained": None} if own else {})}
    start = start_of(student.model_copy(update=random))
    context = int(start.config.get("text_cfg", {}).get("context_length", 77))
    tokens = min(caption_tokens, context)
    with bert_at_hand(start.config) as (config, assumed), weightless(lambda: build_network(config)) as network:
        side = network.visual.image_size
        height, width = (side, side) if isinstance(side, int) else side

        def image(count: int) -> Tensor:
            return network.encode_image(torch.empty(count, CHANNELS, height, width))  # type: ignore[no-any-return]

        def text(count: int, length: int) -> Tensor:
            return encode_text(network, torch.zeros(count, length, dtype=torch.long), torch.full((count,), length))

        def both(count: int) -> object:
            return image(count), text(count, context if pads_fully(train, context) else tokens)

        # what grows with the batch is a pair's; copies of weights in bf16 do not grow
        two, four = (_kept(network, both, count, train.precision == "bf16") for count in (2, 4))
        kept, inputs = ((more - less) / 2 for less, more in zip(two, four, strict=True))
        with torch.no_grad():
            patch_width = _patch_width(network, grid) if follows_patches(train) else 0
            return StudentCount(
                parameters=sum(p.numel() for p in network.parameters()),
                dim=int(config["embed_dim"]),
                tokens=tokens,
                context=context,
                image_gflop=gflop_of(lambda: image(1)),
                text_gflop=gflop_of(lambda: text(1, tokens)),
                context_gflop=gflop_of(lambda: text(1, context)),
                kept_bytes=kept,
                block_bytes=inputs,
                blocks=len(transformer_blocks(network)),
                assumed=assumed,
                patches=grid**2 if patch_width else 0,
                patch_width=patch_width,
            )


def follows_patches(settings: TrainSettings) -> bool:
    """Whether a term of the training follows patches."""
    return isinstance(settings, DistillSettings) and settings.follows_patches


def _patch_width(network: Any, grid: int) -> int:
    try:
        return patches_of_tower(network.visual, grid).width
    except ModelError as error:
        raise ConfigError(
            f"the term 'patches' needs a student that gives patches on the teachers' grid: {error}; choose another "
            "student, or take the term out"
        ) from error


def _kept(network: Any, forward: Callable[[int], object], count: int, bf16: bool) -> tuple[int, int]:
    """Bytes that autograd keeps for the backward pass, and bytes of the inputs of the transformers' blocks."""
    saved: dict[int, Tensor] = {}  # by storage: views of one are kept once
    inputs: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    def record(module: object, arguments: Sequence[Any]) -> None:
        inputs.append(arguments[0].numel() * arguments[0].element_size())

    hooks = [block.register_forward_pre_hook(record) for block in transformer_blocks(network)]
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        forward(count)
    for hook in hooks:
        hook.remove()
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values()), sum(inputs)


@dataclass(frozen=True)
class StagePlan:
    """One training. gflop: executed for a pair in all; loss_gflop: of it, the losses'."""

    name: str
    steps: int
    pairs: int
    gflop: float
    loss_gflop: float
    hours: float


def plan_stage(
    name: str,
    settings: TrainSettings,
    train_pairs: int,
    student: StudentCount,
    teacher_dims: Sequence[int],
    machine: Machine,
    hardware: Hardware,
) -> StagePlan:
    """Steps and hours. teacher_dims: of those whose image-text logits the loss computes, none for stage 1."""
    steps = settings.epochs * Order(train_pairs, settings.batch_size, 0).steps_per_epoch
    loss = loss_gflop(settings, student.dim, teacher_dims) + patch_gflop(student)
    again = machine.grad_checkpointing + (0 < machine.micro_batch < settings.batch_size / hardware.gpus)
    gflop = (TRAINING + again + settings.self_taught) * student.forward_gflop(settings) + loss
    pairs = steps * settings.batch_size
    return StagePlan(name, steps, pairs, gflop, loss, hardware.hours(gflop * pairs))


def loss_gflop(settings: TrainSettings, dim: int, teacher_dims: Sequence[int]) -> float:
    """Of one pair against the keys of a batch, both ways: the student's logits there and back, the teachers' there.

    An average of the weights that teaches is one more teacher, of the student's dimension.
    """
    student, teachers = logit_matrices(settings, len(teacher_dims))
    views = 1 + len(settings.matryoshka)
    of_teachers = teachers * sum(teacher_dims) + settings.self_taught * dim
    products = TRAINING * student * (dim + sum(settings.matryoshka)) + views * of_teachers
    return 2 * 2 * settings.batch_size * products / GIGA


def patch_gflop(student: StudentCount) -> float:
    """Of one pair: the cosines of the student's patches, there and back; those of teachers are made on the CPU."""
    return TRAINING * 2 * student.patches**2 * student.patch_width / GIGA


def logit_matrices(settings: TrainSettings, teachers: int) -> tuple[int, int]:
    """How often the losses of a step compute the student's logits of the batch, and those of all teachers.

    A term that sees one teacher at a time computes the student's for each; a term of the stack once, and the likeness
    of captions like the logits of all teachers once more. The reference recipe has two contrastive losses.
    """
    if not isinstance(settings, DistillSettings) or settings.objective == "contrastive":
        return 1, 0
    if settings.is_reference:
        return 2, 1
    chosen = [TERMS[name] for name in settings.weights if name in TERMS]
    stacks = sum(term.stack for term in chosen)
    alone = sum(not (term.stack or term.patches) for term in chosen)
    student = alone * teachers + stacks + ("contrastive" in settings.weights)
    return student, alone + stacks * (1 + settings.caption_evidence)


@dataclass(frozen=True)
class MemoryPlan:
    """GB of one GPU. states: weights, gradients, AdamW, averages. fits: whether the sum is below what is usable."""

    name: str
    states: float
    activations: float
    logits: float
    total: float
    fits: bool


def plan_memory(
    name: str,
    settings: TrainSettings,
    student: StudentCount,
    teacher_dims: Sequence[int],
    machine: Machine,
    hardware: Hardware,
) -> MemoryPlan:
    """What a training holds at its fullest, when the losses are computed and all activations are there."""
    own = math.ceil(settings.batch_size / hardware.gpus)
    at_once = min(machine.micro_batch or own, own)
    states = state_bytes(settings, student.parameters, machine, hardware.gpus)
    activations = at_once * pair_bytes(student, machine.grad_checkpointing)
    logits = logit_bytes(own, settings.batch_size, (1 + settings.self_taught) * student.dim, teacher_dims)
    logits += patch_bytes(own, student, len(teacher_dims))
    total = states + activations + logits
    gb = (states / GIGA, activations / GIGA, logits / GIGA, total / GIGA)
    return MemoryPlan(name, *gb, total <= USABLE * hardware.memory_gb * GIGA)


def state_bytes(settings: TrainSettings, parameters: int, machine: Machine, gpus: int) -> float:
    """Weights, gradients and two moments in fp32; an average and the first weights where they are asked for.

    With `fsdp` every GPU has its share of them. Under autocast the weights are there in bf16 as well.
    """
    copies = 4 + (settings.ema > 0)
    held = copies * FLOAT * parameters / (gpus if machine.sharding == "fsdp" else 1)
    return held + (2 * parameters if settings.precision == "bf16" else 0)


def pair_bytes(student: StudentCount, checkpointing: bool) -> float:
    """Activations of one pair: all of them, or the blocks' inputs and what one block needs when it is done again."""
    if not checkpointing or not student.blocks:
        return student.kept_bytes
    return student.block_bytes + student.kept_bytes / student.blocks


def logit_bytes(own: int, keys: int, dim: int, teacher_dims: Sequence[int]) -> float:
    """All pairs' vectors of student and teachers, both sides, and the matrices of the loss, which come in chunks."""
    return FLOAT * (2 * keys * (dim + sum(teacher_dims)) + CHUNKS * min(own * keys, CELLS))


def patch_bytes(own: int, student: StudentCount, teachers: int) -> float:
    """A process's patches, the cosines of those of student and teachers, and what their differences hold at once."""
    cosines = (1 + 3 * teachers) * student.patches**2
    return FLOAT * own * (student.patches * student.patch_width + cosines)


def largest_micro_batch(
    settings: TrainSettings,
    student: StudentCount,
    teacher_dims: Sequence[int],
    machine: Machine,
    hardware: Hardware,
    checkpointing: bool,
) -> int:
    """Pairs that go through the student at once on one GPU, at most its whole part of the batch; 0: none fits."""
    own = math.ceil(settings.batch_size / hardware.gpus)
    room = USABLE * hardware.memory_gb * GIGA - state_bytes(settings, student.parameters, machine, hardware.gpus)
    room -= logit_bytes(own, settings.batch_size, (1 + settings.self_taught) * student.dim, teacher_dims)
    room -= patch_bytes(own, student, len(teacher_dims))
    return max(0, min(own, int(room // pair_bytes(student, checkpointing))))


def checkpoint_bytes(settings: TrainSettings, parameters: int) -> float:
    """Weights and moments, those kept and one that is being written, and the best weights where they are asked for."""
    whole = (3 + (settings.ema > 0)) * FLOAT * parameters
    return (settings.keep_last + 1) * whole + (settings.select == "best") * FLOAT * parameters
