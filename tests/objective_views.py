"""Batches and views for the tests of objectives: made-up students and teachers, and pretended processes.

Letters: K pairs of a batch, D student dimension, E a teacher's.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd.distributed import ALONE, World
from mmkd.training.data.view import Embedded, TeacherBatch, View
from mmkd.training.experimental.targets import Target, fit_target
from mmkd.training.objectives.objective import Objective, TeacherShape
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.tables import OBJECTIVES

DIM, DIMS, PAIRS = 8, (5, 8, 7), 12


def unit(rows: int, dim: int = 5, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


@dataclass
class Batch:
    """All pairs of a step. caption: equal numbers are equal captions. average: of the weights, where it teaches.

    patch: see `with_patches`.
    """

    image_KD: Tensor
    text_KD: Tensor
    log_scale: Tensor
    teachers: TeacherBatch
    caption_K: Tensor
    caption_weight_K: Tensor
    average: Embedded | None = None
    patch_KPE: Tensor | None = None

    def leaves(self) -> list[Tensor]:
        patches = [] if self.patch_KPE is None else [self.patch_KPE]
        return [self.image_KD, self.text_KD, self.log_scale, *patches]


def batch(pairs: int = PAIRS, dims: Sequence[int] = DIMS, seed: int = 0) -> Batch:
    """Unit vectors, some equal captions, some pairs that a teacher lacks or is not trusted on, two groups of a fit."""
    generator = torch.Generator().manual_seed(seed)
    image, text = ([unit(pairs, dim, seed=10 * seed + s + 2 * t) for t, dim in enumerate(dims)] for s in (1, 2))
    weight_KT = torch.rand(pairs, len(dims), generator=generator).clamp(min=0.1)
    weight_KT[0, 0] = weight_KT[pairs // 2, 1] = 0.0
    image[0][0], text[0][0] = 0.0, 0.0
    available_KT = torch.rand(pairs, len(dims), generator=generator) < 0.6
    available_KT[torch.arange(pairs), torch.arange(pairs) % len(dims)] = True
    caption_K = torch.arange(pairs)
    caption_K[-1] = caption_K[1]
    caption_weight_K = torch.linspace(0.2, 1.0, pairs)
    group_K = torch.arange(pairs) % 2
    slope_KT = torch.linspace(4.0, 9.0, 2 * len(dims)).reshape(2, -1)[group_K]
    slope_KT[0, 0] = 0.0  # the teacher lacks this pair
    teachers = TeacherBatch(image, text, weight_KT, available_KT, slope_KT, group_K)
    made = Batch(
        unit(pairs, DIM, 97 + seed),
        unit(pairs, DIM, 98 + seed),
        torch.tensor(2.3),
        teachers,
        caption_K,
        caption_weight_K,
    )
    for leaf in made.leaves():
        leaf.requires_grad_()
    return made


def with_given(of: Batch, wrong: Sequence[float] | float = 0.3, factor: Sequence[float] | float = 2.1) -> Batch:
    """The batch with captions as evidence: of each pair (K,) or of all, the share of wrong captions and the factor."""
    pairs = len(of.image_KD)
    given = torch.stack([torch.as_tensor(one).double().expand(pairs) for one in (wrong, factor)], dim=1)
    return replace(of, teachers=replace(of.teachers, given_B2=given.to(torch.get_default_dtype())))


def with_patches(of: Batch, cells: int = 4, width: int = 6) -> Batch:
    """The batch with patches of the student's and of all teachers but the last; the first one lacks a pair's."""
    pairs, teachers = len(of.image_KD), len(of.teachers.image)
    made = [unit(pairs * cells, width, 40 + t).reshape(pairs, cells, width) for t in range(teachers)]
    relation = torch.stack([patch_KPE @ patch_KPE.transpose(1, 2) for patch_KPE in made], dim=1)
    relation[0, 0], relation[:, -1] = 0.0, 0.0
    student = unit(pairs * cells, width + 1, 39).reshape(pairs, cells, width + 1).requires_grad_()
    return replace(of, patch_KPE=student, teachers=replace(of.teachers, relation_BTPP=relation))


def with_average_of(of: Batch, seed: int = 40) -> Batch:
    """The batch with a student's average that embeds its pairs somewhere else, at a scale of its own."""
    pairs = len(of.image_KD)
    return replace(of, average=Embedded(unit(pairs, DIM, seed), unit(pairs, DIM, seed + 1), torch.tensor(6.0)))


def averaged(of: Batch, rows: slice | Tensor) -> Embedded | None:
    """Some rows of what the average embeds."""
    return of.average and Embedded(of.average.image_BD[rows], of.average.text_BD[rows], of.average.scale)


def picked(teachers: TeacherBatch, rows: slice | Tensor) -> TeacherBatch:
    return teachers.map(lambda one: one[rows])


def view_of(of: Batch, rows: slice | None = None, world: World = ALONE, seed: int = 5) -> View:
    """The view of the process that has these rows."""
    rows = rows or slice(0, len(of.image_KD))
    scale = of.log_scale.exp()
    return View(
        own=Embedded(of.image_KD[rows], of.text_KD[rows], scale, None if of.patch_KPE is None else of.patch_KPE[rows]),
        keys=Embedded(of.image_KD, of.text_KD, scale),
        positive_BK=of.caption_K[rows, None] == of.caption_K,
        caption_weight_B=of.caption_weight_K[rows],
        teachers=picked(of.teachers, rows),
        teacher_keys=of.teachers,
        generator=torch.Generator().manual_seed(seed),
        offset=rows.start,
        world=world,
        average=averaged(of, rows),
        average_keys=of.average,
    )


def shapes(of: Batch, kind: str = "none", scale: float = 9.0) -> list[TeacherShape]:
    """What an objective knows of the teachers, with targets of a kind fitted on the batch."""
    rng = np.random.default_rng(0)
    sides = zip(of.teachers.image, of.teachers.text, strict=True)
    return [
        TeacherShape(scale, as_default(fit_target(kind, image.numpy(), text.numpy(), rng))) for image, text in sides
    ]


def as_default(target: Target) -> Target:
    """A target, which is float32, in the type that the test computes in."""
    return target.to(torch.get_default_dtype())


def mapped(target: Target, map_DE: Tensor, offset_E: Tensor) -> Target:
    """The target behind another map."""
    means, spreads = (target.image_mean_D, target.text_mean_D), (target.image_dispersion, target.text_dispersion)
    return Target(*means, map_DE, offset_E, *spreads)


def into_student(of: Batch) -> list[TeacherShape]:
    """As `shapes`, with random maps into the student's dimension, which keep no lengths."""
    generator = torch.Generator().manual_seed(3)
    found = []
    for shape in shapes(of):
        map_DE = torch.randn(shape.target.width, DIM, generator=generator)
        found.append(replace(shape, target=mapped(shape.target, map_DE, torch.full((DIM,), 0.1))))
    return found


def build(settings: DistillSettings, of: Batch) -> Objective:
    """The objective that the settings name, from the table."""
    return objective_of(settings, into_student(of) if settings.is_reference else shapes(of, settings.targets))


def objective_of(settings: DistillSettings, known: list[TeacherShape]) -> Objective:
    """The objective that the settings name, for teachers of known shapes."""
    made: Objective = OBJECTIVES[settings.objective].load()(settings, DIM, known, torch.Generator().manual_seed(1))
    return made


def total(objective: Objective, view: View) -> Tensor:
    """The weighted sum, as the loop has it."""
    found = objective(view)
    assert found.keys() == objective.weights.keys()
    return torch.stack([objective.weights[name] * loss for name, loss in found.items()]).sum()


@dataclass(frozen=True)
class Listening(World):
    """A process that notes what it would hand to the others."""

    said: list[Tensor] = field(default_factory=list)

    def sum(self, value: Tensor) -> Tensor:
        self.said.append(value.detach().clone())
        return value


@dataclass(frozen=True)
class Answering(World):
    """A process that hears, call by call, the sums of what all of them said."""

    sums: list[Tensor] = field(default_factory=list)

    def sum(self, value: Tensor) -> Tensor:
        return self.sums.pop(0)


def on_shards(objective: Objective, of: Batch, cuts: Sequence[int]) -> Tensor:
    """The mean over pretended processes of what each of them computes on its rows."""
    edges = [0, *cuts, len(of.image_KD)]
    parts = [slice(first, last) for first, last in itertools.pairwise(edges)]
    listeners = [Listening(rank, len(parts)) for rank in range(len(parts))]
    for part, world in zip(parts, listeners, strict=True):
        objective(view_of(of, part, world))
    sums = [torch.stack(values).sum(dim=0) for values in zip(*(world.said for world in listeners), strict=True)]
    worlds = [Answering(rank, len(parts), sums=list(sums)) for rank in range(len(parts))]
    return torch.stack([total(objective, view_of(of, part, w)) for part, w in zip(parts, worlds, strict=True)]).mean()
