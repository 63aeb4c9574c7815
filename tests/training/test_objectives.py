"""Objectives: laws that hold for every one in the table, and for every switch of the composed ones."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.distributed import ALONE
from mmkd.errors import ConfigError
from mmkd.training.data.view import TeacherBatch
from mmkd.training.experimental import heads
from mmkd.training.losses import memory
from mmkd.training.objectives.contrastive import Contrastive
from mmkd.training.objectives.distilled import Distilled
from mmkd.training.objectives.objective import Objective
from mmkd.training.settings.distill import DistillSettings, MmkdSettings
from mmkd.training.settings.tables import OBJECTIVES, TERMS, WEIGHTINGS
from mmkd.training.settings.train import TrainSettings
from mmkd.training.step import positives
from objective_views import (
    DIM,
    PAIRS,
    Batch,
    averaged,
    batch,
    build,
    objective_of,
    on_shards,
    picked,
    shapes,
    total,
    view_of,
    with_average_of,
    with_given,
    with_patches,
)
from tolerance import assert_rounding, assert_rounding_of_all

pytestmark = pytest.mark.usefixtures("float64")
GATHERED = MmkdSettings(gather_gradient=True)  # without it the gradients on shards are not those of the batch
CASES: dict[str, DistillSettings] = {
    name: DistillSettings.model_validate({"objective": name, "mmkd": GATHERED}) for name in OBJECTIVES
} | {
    "every term": DistillSettings(contrastive=0.3, terms={name: 0.5 for name in TERMS}),
    "every term beside affinity": DistillSettings(
        objective="affinity", contrastive=0.3, terms={name: 0.5 for name in TERMS}
    ),
    "patches by weights": DistillSettings(objective="affinity", terms={"patches": 0.5}, min_weight=0.25),
    "without the captions": DistillSettings(caption_evidence=False),
    "self-teacher": DistillSettings(ema=0.9, self_teacher=0.3),
    "sharper, one softmax": DistillSettings(sharpness=2.0, other_groups=1.0),
    **{
        f"weighting {name}": DistillSettings(objective="affinity", weighting=name, terms={"relational": 1.0})
        for name in WEIGHTINGS
    },
    "sigmoid": DistillSettings(objective="contrastive", pairwise="sigmoid"),
    "cosine, phi-s": DistillSettings(objective="heads", head_loss="cosine", targets="phi-s"),
    "smooth L1, standardise": DistillSettings(objective="heads", head_loss="smooth_l1", targets="standardise"),
    "confidence": DistillSettings(objective="affinity", weighting="confidence", confidence=0.5),
    "dropping": DistillSettings(objective="heads", weighting="dropping", keep=0.4),
    "uncertainty": DistillSettings(objective="affinity", weighting="uncertainty", terms={"heads": 1.0}),
    "min_weight": DistillSettings(objective="affinity", min_weight=0.25),
    "one_space": DistillSettings(objective="mmkd", mmkd=MmkdSettings(one_space=True, gather_gradient=True)),
}


def batch_of(settings: DistillSettings) -> Batch:
    """A batch with what the stage hands to this recipe: captions as evidence where a term of the stack reads them, and
    what the average of the weights embeds where it teaches, and patches where a term follows them. A reliability
    without a stack has no slopes."""
    of = with_given(batch()) if settings.is_stacked and settings.caption_evidence else batch()
    if not settings.is_stacked:
        of = replace(of, teachers=replace(of.teachers, slope_BT=None, group_B=None))
    of = with_average_of(of) if settings.self_taught else of
    return with_patches(of) if settings.follows_patches else of


def settled(settings: DistillSettings) -> DistillSettings:
    """Without draws that depend on where a pair stands."""
    return settings.model_copy(update={"keep": 0.0})


def gradients(loss: Tensor, of: Batch, objective: Objective) -> list[Tensor]:
    trained = [p for p in objective.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, [*of.leaves(), *trained], allow_unused=True)
    return [torch.zeros(()) if one is None else one for one in found]


def gradients_by_name(loss: Tensor, of: Batch, objective: Objective) -> dict[str, Tensor]:
    return {str(number): one for number, one in enumerate(gradients(loss, of, objective))}


@pytest.mark.parametrize("name", CASES)
def test_shards_average_to_the_whole_batch(name: str) -> None:
    of = batch_of(CASES[name])
    objective = build(CASES[name], of)
    whole, parts = total(objective, view_of(of)), on_shards(objective, of, cuts=[5])
    assert_rounding(parts, whole)
    assert_rounding_of_all(gradients_by_name(parts, of, objective), gradients_by_name(whole, of, objective))


@pytest.mark.parametrize("name", CASES)
def test_every_part_of_the_student_has_a_gradient_and_no_teacher(name: str) -> None:
    of = batch_of(CASES[name])
    objective = build(CASES[name], of)
    image, text, *_ = gradients(total(objective, view_of(of)), of, objective)
    for gradient in (image, text):
        assert torch.isfinite(gradient).all()
        assert (gradient.abs().sum(dim=1) > 0).float().mean() > 0.8
    assert not [key for key in objective.state_dict() if key.startswith("targets")]
    assert not any("targets" in key for key, _ in objective.named_parameters())


@pytest.mark.parametrize("name", CASES)
def test_the_order_of_the_pairs_changes_nothing(name: str) -> None:
    of = batch_of(CASES[name])
    if CASES[name].is_reference:  # its draw depends on the place in the batch: leave it one choice
        of.teachers.available_BT[:] = F.one_hot(torch.arange(PAIRS) % 3, 3).bool()
    objective = build(settled(CASES[name]), of)
    turned = torch.randperm(PAIRS, generator=torch.Generator().manual_seed(2))
    moved = Batch(
        of.image_KD[turned], of.text_KD[turned], of.log_scale, picked(of.teachers, turned), of.caption_K[turned],
        of.caption_weight_K[turned], averaged(of, turned), None if of.patch_KPE is None else of.patch_KPE[turned],
    )  # fmt: skip
    assert_rounding(total(objective, view_of(moved)), total(objective, view_of(of)))


@pytest.mark.parametrize("name", CASES)
def test_the_size_of_chunks_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of = batch_of(CASES[name])
    objective = build(CASES[name], of)
    whole = total(objective, view_of(of))
    expected = gradients_by_name(whole, of, objective)
    monkeypatch.setattr(memory, "CELLS", 5 * PAIRS)  # 12 rows as 5 + 5 + 2
    monkeypatch.setattr(heads, "HEAD_CELLS", 1)  # and of heads as 7 + 5
    parts = total(objective, view_of(of))
    assert_rounding(parts, whole)
    assert_rounding_of_all(gradients_by_name(parts, of, objective), expected)


def simplex(rows: int) -> Tensor:
    """Unit vectors, all equally far from one another: the best that a contrastive loss can ask for."""
    return F.normalize(torch.eye(rows) - 1 / rows, dim=1)


class IdentityHeads(nn.Module):
    """Heads that give the student's own vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = nn.Identity(), nn.Identity()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_perfect_student_has_the_minimum(name: str) -> None:
    perfect = simplex(DIM)
    trust = torch.ones(DIM, 2)
    slope, group = 4.5 * trust, torch.zeros(DIM, dtype=torch.long)
    teachers = TeacherBatch([perfect, perfect], [perfect, perfect], trust, trust.bool(), slope, group)
    log_scale = torch.tensor(math.log(9.0))
    settings = DistillSettings.model_validate({"objective": name, "targets": "none"})

    def loss(image: Tensor, text: Tensor) -> Tensor:
        of = Batch(image, text, log_scale, teachers, torch.arange(DIM), torch.ones(DIM))
        objective = objective_of(settings, shapes(of, scale=9.0))
        if isinstance(objective, Distilled) and len(objective.heads):
            objective.heads = nn.ModuleList(IdentityHeads() for _ in range(2))
        return total(objective, view_of(of))

    image, text = perfect.clone().requires_grad_(), perfect.clone().requires_grad_()
    least = loss(image, text)
    for side, gradient in zip((image, text), torch.autograd.grad(least, (image, text)), strict=True):
        along = gradient - (gradient * side).sum(dim=1, keepdim=True) * side  # on the sphere
        assert_rounding(along, torch.zeros_like(along), size=9.0)
    for seed in range(5):
        noise = 0.2 * torch.randn(2, DIM, DIM, generator=torch.Generator().manual_seed(seed))
        assert loss(F.normalize(perfect + noise[0], dim=1), F.normalize(perfect + noise[1], dim=1)) > least


@pytest.mark.parametrize("name", [name for name in TERMS if name in OBJECTIVES])
def test_the_main_term_has_what_the_captions_leave(name: str) -> None:
    settings = DistillSettings.model_validate({"objective": name, "contrastive": 0.25})
    assert build(settings, batch()).weights == {name: 0.75, "contrastive": 0.25}
    beside = {other: 3.0 + number for number, other in enumerate(TERMS) if other != name}
    others = DistillSettings.model_validate({"objective": name, "terms": beside})
    assert build(others, batch()).weights == beside | {name: 1.0}


def test_a_contrastive_share_of_one_leaves_no_main_term() -> None:
    of = batch()
    objective = build(DistillSettings(objective="affinity", contrastive=1.0), of)
    torch.testing.assert_close(total(objective, view_of(of)), total(Contrastive(TrainSettings()), view_of(of)))


def test_a_pair_whose_caption_has_weight_zero_has_no_contrastive_loss() -> None:
    of = batch()
    of.caption_weight_K = torch.zeros(PAIRS)
    of.caption_weight_K[3] = 0.5
    found = total(Contrastive(TrainSettings()), view_of(of))
    of.caption_weight_K = torch.ones(PAIRS)
    single = total(Contrastive(TrainSettings()), view_of(of, slice(3, 4)))
    torch.testing.assert_close(found, 0.5 * single / PAIRS)


def test_a_teacher_without_weight_anywhere_changes_nothing() -> None:
    of = batch()
    of.teachers.weight_BT[:, 2] = 0.04  # below min_weight
    terms = {"heads": 1.0, "relational": 1.0, "interactive": 1.0}
    objective = build(DistillSettings(objective="affinity", terms=terms), of)
    before = total(objective, view_of(of))
    of.teachers.image[2], of.teachers.text[2] = -of.teachers.text[2], of.teachers.image[2] ** 2
    torch.testing.assert_close(total(objective, view_of(of)), before)


def test_where_no_teacher_has_weight_the_loss_and_its_gradient_are_zero() -> None:
    of = batch()
    of.teachers.weight_BT[:] = 0.0
    objective = build(DistillSettings(objective="affinity", terms={"relational": 1.0, "interactive": 1.0}), of)
    loss = total(objective, view_of(of))
    assert loss.item() == 0.0
    assert all((one == 0).all() for one in gradients(loss, of, objective))


def test_an_objective_without_teachers_says_what_it_needs() -> None:
    of = batch()
    view = view_of(of)
    without = type(view)(**{**vars(view), "teachers": None, "teacher_keys": None})
    for name in ("stacked", "affinity", "mmkd"):
        with pytest.raises(ConfigError, match="only 'contrastive' goes without"):
            build(CASES[name], of)(without)


def test_heads_start_equal_with_equal_generators_and_draw_from_no_other() -> None:
    state = torch.random.get_rng_state()
    one, same = (build(DistillSettings(objective="heads"), batch()).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_mmkd_fixed_has_every_defect_mended_and_mmkd_none() -> None:
    fixed = DistillSettings(objective="mmkd-fixed").reference
    flags = {name: value for name, value in fixed if isinstance(value, bool)}
    assert flags
    assert all(flags.values())
    as_it_is = DistillSettings(objective="mmkd").reference
    assert not any(value for _, value in as_it_is if isinstance(value, bool))
    assert fixed.model_dump(exclude=set(flags)) == as_it_is.model_dump(exclude=set(flags))


def test_repeats_are_negatives_of_the_reference_alone_unless_asked() -> None:
    joint = {
        name: DistillSettings.model_validate({"objective": name}).joint_positives for name in ("mmkd", "mmkd-fixed")
    }
    assert joint == {"mmkd": False, "mmkd-fixed": True}
    assert DistillSettings(objective="mmkd", joint_positives=True).joint_positives
    assert DistillSettings().joint_positives


def test_pairs_with_equal_captions_or_images_are_positives_of_one_another() -> None:
    caption, image = torch.tensor([5, 6, 5, 7]), torch.tensor([1, 2, 3, 2])
    assert positives(caption, image, 0, ALONE, joint=False).equal(torch.eye(4, dtype=torch.bool))
    expected = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]], dtype=torch.bool)
    assert positives(caption, image, 0, ALONE, joint=True).equal(expected)


@pytest.mark.parametrize("name", CASES)
def test_all_that_is_trained_has_a_gradient(name: str) -> None:
    of = batch_of(CASES[name])
    objective = build(CASES[name], of)
    trained = [p for p in objective.parameters() if p.requires_grad]
    torch.autograd.grad(total(objective, view_of(of)), [*of.leaves(), *trained])  # raises for one without
