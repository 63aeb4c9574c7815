"""The average of the weights as one more teacher: its share of the target, and what it embeds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from mmkd.distributed import ALONE
from mmkd.errors import ConfigError
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import OpenClipModel
from mmkd.training.data.view import Embedded
from mmkd.training.engine import Engine, make_engine
from mmkd.training.experimental.average import MovingAverage
from mmkd.training.losses.contrastive import kl_rows
from mmkd.training.losses.stacked import with_average
from mmkd.training.matryoshka import matryoshka_losses
from mmkd.training.objectives.stacked import stacked_term
from mmkd.training.self_teacher import embed_by_average
from mmkd.training.settings.distill import DistillSettings
from objective_views import Batch, batch, build, unit, view_of, with_average_of, with_given
from tiny import MACHINE, tiny_config
from tolerance import assert_rounding, assert_rounding_of_all

TAUGHT = DistillSettings(ema=0.9, self_teacher=0.3)
PAIRS, CONTEXT = 7, 16


def test_the_mixture_by_hand() -> None:
    stack = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]).log() + 3.0
    average = torch.tensor([[0.1, 0.1, 0.8], [0.2, 0.6, 0.2], [0.5, 0.5, 0.0001]]).log() - 2.0
    keys = torch.tensor([[True, True, True], [True, True, True], [True, True, False]])
    found = with_average(stack, average, keys, 0.25).exp()
    expected = [[0.4, 0.2125, 0.3875], [0.125, 0.75, 0.125], [0.5, 0.5, 0.0]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_its_gradient_is_the_pull_of_both_teachers_by_their_shares() -> None:
    stack, average = 4.0 * unit(6, 9, 1), 3.0 * unit(6, 9, 2)
    student = (5.0 * unit(6, 9, 3)).requires_grad_()
    keys = torch.ones(6, 9, dtype=torch.bool)
    (mixed,) = torch.autograd.grad(kl_rows(with_average(stack, average, keys, 0.3), student).sum(), student)
    apart = 0.7 * kl_rows(stack, student).sum() + 0.3 * kl_rows(average, student).sum()
    torch.testing.assert_close(mixed, torch.autograd.grad(apart, student)[0])


def naive(of: Batch, share: float) -> Tensor:
    """By loops over queries: KL of the student from the mixed distribution, both ways, over keys of the own group."""
    known, average = of.teachers, of.average
    assert known.slope_BT is not None
    assert known.group_B is not None
    assert average is not None
    values = []
    for b in range(len(of.image_KD)):
        asked = [t for t in range(len(known.image)) if known.slope_BT[b, t] > 0]
        keys = [
            k
            for k in range(len(of.image_KD))
            if known.group_B[k] == known.group_B[b] and all(known.image[t][k].abs().sum() > 0 for t in asked)
        ]
        for one, other in (("image", "text"), ("text", "image")):
            stack = torch.zeros(len(keys))
            for t in asked:
                stack = stack + known.slope_BT[b, t] * (getattr(known, other)[t][keys] @ getattr(known, one)[t][b])
            its_own = average.scale * (getattr(average, f"{other}_BD")[keys] @ getattr(average, f"{one}_BD")[b])
            cosine_K = getattr(of, f"{other}_KD")[keys] @ getattr(of, f"{one}_KD")[b]
            student = (of.log_scale.exp() * cosine_K).log_softmax(dim=0)
            target = (1 - share) * stack.softmax(dim=0) + share * its_own.softmax(dim=0)
            values.append((target * (target.log() - student)).sum())
    return torch.stack(values).mean()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_the_term_is_that_of_loops(share: float) -> None:
    of = with_average_of(batch(seed=3))
    settings = TAUGHT.model_copy(update={"self_teacher": share, "other_groups": 0.0})
    found, expected = build(settings, of)(view_of(of))["stacked"], naive(of, share)
    assert_rounding(found, expected)
    pull, by_loops = (torch.autograd.grad(loss, of.leaves()) for loss in (found, expected))
    assert_rounding_of_all(dict(zip("its", pull, strict=True)), dict(zip("its", by_loops, strict=True)))


def test_a_share_of_zero_changes_no_bit() -> None:
    of = with_given(batch())
    plain, _ = stacked_term(view_of(of), DistillSettings())
    found, _ = stacked_term(view_of(with_average_of(of)), DistillSettings(ema=0.9))
    assert torch.equal(found, plain)
    assert not torch.equal(stacked_term(view_of(with_average_of(of)), TAUGHT)[0], plain)


def test_a_student_that_is_its_average_is_pulled_by_the_stack_alone() -> None:
    """As at the first step: of two equal teachers the share has no weight, so that no warm-up is needed."""
    of = batch()
    same = replace(of, average=Embedded(of.image_KD.detach(), of.text_KD.detach(), of.log_scale.detach().exp()))
    settings = TAUGHT.model_copy(update={"other_groups": 0.0})
    mixed, alone = (
        torch.autograd.grad(build(one, same)(view_of(same))["stacked"], of.leaves())
        for one in (settings, settings.model_copy(update={"self_teacher": 0.0}))
    )
    for found, whole in zip(mixed, alone, strict=True):
        torch.testing.assert_close(found, 0.7 * whole)


@pytest.mark.usefixtures("float64")
def test_smaller_vectors_follow_the_whole_ones_of_the_average() -> None:
    of = with_average_of(batch())
    objective, view = build(TAUGHT, of), view_of(of)
    found = matryoshka_losses(objective, view, [3], torch.Generator)["stacked"]
    cut = replace(
        of,
        **{side: torch.nn.functional.normalize(getattr(of, side)[:, :3], dim=1) for side in ("image_KD", "text_KD")},
    )
    assert_rounding(found, (objective(view)["stacked"] + objective(view_of(cut))["stacked"]) / 2)


def test_what_it_needs_is_said() -> None:
    with pytest.raises(ValidationError, match=r"self_teacher is 0\.3, but ema is 0: .*set ema"):
        DistillSettings(self_teacher=0.3)
    with pytest.raises(ValidationError, match="less than 1"):
        DistillSettings(ema=0.9, self_teacher=1.0)  # no teacher would be left
    with pytest.raises(ConfigError, match="set ema above 0"):
        stacked_term(view_of(batch()), TAUGHT)


def test_folders_that_were_trained_before_the_key_stand() -> None:
    assert "self_teacher" not in DistillSettings().trained_with
    unset = {"self_teacher", "captionless"}
    assert DistillSettings().trained_with.keys() | unset == DistillSettings.model_fields.keys()
    assert TAUGHT.trained_with["self_teacher"] == 0.3


@pytest.fixture
def model() -> OpenClipModel:
    return build_student(StudentSettings(config=tiny_config()), 0)


def engine_of(model: OpenClipModel, micro: int = 0) -> Engine:
    machine = MACHINE.model_copy(update={"micro_batch": micro})
    return make_engine(model.network, 2, False, machine, torch.device("cpu"), ALONE)


def moved(model: OpenClipModel) -> MovingAverage:
    """An average that is not the network."""
    average = MovingAverage(model.network, 0.9)
    drawn = torch.Generator().manual_seed(3)
    for value in average.parameters.values():
        value.add_(0.05 * torch.randn(value.shape, generator=drawn))
    return average


def pairs() -> tuple[Tensor, Tensor, np.ndarray]:
    drawn = torch.Generator().manual_seed(4)
    length_B = np.array([3, 16, 5, 9, 4, 12, 7])
    token_BL = torch.randint(1, 200, (PAIRS, CONTEXT), generator=drawn)
    token_BL[torch.arange(CONTEXT) >= torch.from_numpy(length_B)[:, None]] = 0
    return torch.randn(PAIRS, 3, 32, 32, generator=drawn), token_BL, length_B


@pytest.mark.parametrize("micro", [0, 3])
def test_it_embeds_as_a_student_of_these_weights_and_leaves_the_student_as_it_was(
    micro: int, model: OpenClipModel, tmp_path: Path
) -> None:
    average, engine = moved(model), engine_of(model, micro)
    model.network.visual.transformer.resblocks[0].ls_1 = torch.nn.Dropout(0.5)  # the identity stands there
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    state = torch.get_rng_state()
    found = embed_by_average(average, model.network, engine, *pairs())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    assert all(module.training for module in model.network.modules())
    other = build_student(StudentSettings(config=tiny_config()), 0)
    other.network.load_state_dict({**other.network.state_dict(), **average.parameters})
    plain = engine_of(other)
    other.network.eval()
    with torch.no_grad():
        image_BD, text_BD, scale, *_ = plain.towers(*pairs())
    assert_rounding(found.image_BD, image_BD)
    assert_rounding(found.text_BD, text_BD)
    assert torch.equal(found.scale, scale)
    assert not any(one.requires_grad for one in (found.image_BD, found.text_BD, found.scale))
    with torch.no_grad():
        own = engine.towers(*pairs())[0]
    assert not torch.allclose(found.image_BD, own, atol=0.01)
