"""Weightings that live in the step, and the caption term's own switches."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmkd.training.experimental.weightings import draws, dropped, own_probability, uncertain
from mmkd.training.objectives.contrastive import CaptionTerm, Contrastive
from mmkd.training.objectives.distilled import Distilled, affinity_term
from mmkd.training.objectives.mmkd import Mmkd, draw_teacher
from mmkd.training.settings.distill import DistillSettings, MmkdSettings
from mmkd.training.settings.train import TrainSettings
from objective_views import PAIRS, Answering, Batch, batch, build, into_student, objective_of, shapes, total, view_of

pytestmark = pytest.mark.usefixtures("float64")


def test_dropping_by_hand() -> None:
    weight = torch.tensor([[0.5, 1.0, 0.2], [0.5, 0.0, 0.2], [0.0, 0.0, 0.0]])
    value = torch.tensor([[1.0, 2.0, 3.0], [1.0, 9.0, 0.5], [1.0, 2.0, 3.0]])
    draw = torch.tensor([[0.1, 0.9, 0.9], [0.9, 0.1, 0.9], [0.1, 0.1, 0.1]])
    # row 0: the third is the largest, the first was drawn; row 1: the largest has no weight, so the first is it
    expected = torch.tensor([[0.5, 0.0, 0.2], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(dropped(weight, value, draw, keep=0.4), expected)


def test_dropping_keeps_the_asked_share_of_the_others() -> None:
    drawn = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    kept = dropped(torch.ones(4000, 3), torch.tensor([0.0, 5.0, 1.0]).repeat(4000, 1), drawn, keep=0.3) > 0
    assert kept[:, 1].all()
    assert kept[:, [0, 2]].float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_every_process_draws_its_rows_of_the_same_numbers() -> None:
    of = batch()
    whole = draws(view_of(of), 3)
    torch.testing.assert_close(draws(view_of(of, slice(5, 12)), 3), whole[5:12])


def test_keeping_all_is_no_dropping() -> None:
    of = batch()
    plain, kept = (
        total(build(DistillSettings(objective="affinity", weighting=weighting, keep=1.0), of), view_of(of))
        for weighting in ("soft", "dropping")
    )
    torch.testing.assert_close(plain, kept)


@pytest.mark.parametrize("name", ["stacked", "affinity"])
def test_captions_of_pairs_without_a_teacher_are_added_by_their_share_of_the_batch(name: str) -> None:
    of = batch()
    assert of.teachers.slope_BT is not None
    of.teachers.weight_BT[:3] = of.teachers.slope_BT[:3] = 0.0
    of.caption_weight_K = (torch.arange(PAIRS) < 3).double()
    plain, added = (build(DistillSettings(objective=name), of) for _ in range(2))
    assert isinstance(added, Distilled)
    added.learn_from_captions()
    image, text, scale = (leaf.detach() for leaf in of.leaves())
    positive = (of.caption_K[:, None] == of.caption_K).double()
    positive /= positive.sum(dim=1, keepdim=True)
    logits = scale.exp() * image @ text.T
    loss = [-(positive * F.log_softmax(side, dim=1)).sum(dim=1)[:3].sum() / PAIRS / 2 for side in (logits, logits.T)]
    torch.testing.assert_close(total(added, view_of(of)), total(plain, view_of(of)) + sum(loss))


def test_the_teacher_s_probability_of_a_pair_by_hand() -> None:
    of = batch()
    objective = build(DistillSettings(objective="affinity"), of)
    assert isinstance(objective, Distilled)
    view = view_of(of)
    teacher = objective._inputs(view)[0]
    trusted = of.teachers.weight_BT[:, 0] > 0.05
    logits = 9.0 * of.teachers.image[0] @ of.teachers.text[0].T
    forward, backward = (
        torch.softmax(side[:, trusted], dim=1) @ view.positive_BK[:, trusted].T.double() for side in (logits, logits.T)
    )
    expected = (forward.diagonal() + backward.diagonal()) / 2
    torch.testing.assert_close(own_probability(view, teacher), expected)
    assert own_probability(view, teacher)[0] == 0.0  # the teacher lacks the first pair
    assert (own_probability(view, teacher)[1:] > 0).all()


def test_confidence_weighs_by_the_probability_to_the_power() -> None:
    of = batch()
    view = view_of(of)
    objective = build(DistillSettings(objective="affinity", weighting="confidence", confidence=2.0), of)
    assert isinstance(objective, Distilled)
    teachers = objective._inputs(view)
    probability, value = (
        torch.stack([of_one(view, one) for one in teachers], dim=1) for of_one in (own_probability, affinity_term)
    )
    weight = of.teachers.weight_BT * probability**2
    torch.testing.assert_close(total(objective, view), (weight * value).sum() / weight.sum())


def test_uncertainty_by_hand_and_at_its_best() -> None:
    value = torch.tensor([[2.0, 0.5]])
    torch.testing.assert_close(uncertain(value, torch.zeros(2)), value)
    found = uncertain(value, torch.tensor([math.log(2.0), 0.0]))
    torch.testing.assert_close(found, torch.tensor([[1.0 + math.log(2.0), 0.5]]))
    # exp(-s) L + s is least at s = log L
    best = value[0].log().requires_grad_()
    (gradient,) = torch.autograd.grad(uncertain(value, best).sum(), best)
    torch.testing.assert_close(gradient, torch.zeros(2))


def test_uncertainty_trains_one_number_a_teacher_and_term() -> None:
    of = batch()
    settings = DistillSettings(objective="affinity", weighting="uncertainty", terms={"relational": 1.0})
    objective = build(settings, of)
    trained = {name: p for name, p in objective.named_parameters() if "log_variance" in name}
    assert {name: tuple(p.shape) for name, p in trained.items()} == {
        "weighting.log_variance.affinity": (3,),
        "weighting.log_variance.relational": (3,),
    }
    gradients = torch.autograd.grad(total(objective, view_of(of)), list(trained.values()))
    assert all((one != 0).all() for one in gradients)


def test_the_sigmoid_bias_is_trained_from_minus_ten() -> None:
    of = batch()
    objective = Contrastive(TrainSettings(pairwise="sigmoid"))
    assert {name: p.item() for name, p in objective.named_parameters()} == {"captions.bias": -10.0}
    (gradient,) = torch.autograd.grad(total(objective, view_of(of)), list(objective.parameters()))
    assert gradient != 0
    assert not list(Contrastive(TrainSettings()).parameters())


def other_gradient(term: CaptionTerm, of: Batch) -> torch.Tensor:
    """The largest gradient on pairs of another process, when this one has the first five."""
    world = Answering(0, 2, sums=[torch.tensor(float(PAIRS))])
    image, text = torch.autograd.grad(term(view_of(of, slice(0, 5), world)), of.leaves()[:2])
    return torch.stack([image[5:].abs().max(), text[5:].abs().max()]).max()


def test_without_gathered_gradients_other_processes_pairs_carry_none() -> None:
    of = batch()
    assert other_gradient(CaptionTerm(gather_gradient=True), of) > 0
    assert other_gradient(CaptionTerm(gather_gradient=False), of) == 0
    values = [total_of(CaptionTerm(gather_gradient=flag), of) for flag in (True, False)]
    torch.testing.assert_close(values[0], values[1])


def total_of(term: CaptionTerm, of: Batch) -> torch.Tensor:
    found: torch.Tensor = term(view_of(of, slice(0, 5), Answering(0, 2, sums=[torch.tensor(float(PAIRS))])))
    return found


def test_a_drawn_teacher_is_available_and_each_is_drawn_equally_often() -> None:
    available = torch.tensor([[True, False, True], [False, True, False]]).repeat_interleave(3000, dim=0)
    drawn = draw_teacher(available, torch.Generator().manual_seed(0))
    assert available[torch.arange(6000), drawn].all()
    share = F.one_hot(drawn[:3000], 3).float().mean(dim=0)
    assert share.tolist() == pytest.approx([0.5, 0.0, 0.5], abs=0.046)  # five standard errors


@pytest.mark.parametrize(
    ("changes", "scale", "trained"),
    [
        ({}, 2.6593, False),
        ({"exp_scale": True}, 1 / 0.07, False),
        ({"exp_scale": True, "train_scale": True}, 1 / 0.07, True),
    ],
)
def test_the_interactive_scale_of_the_reference(changes: dict[str, bool], scale: float, trained: bool) -> None:
    of = batch()
    objective = objective_of(DistillSettings(objective="mmkd", mmkd=MmkdSettings(**changes)), into_student(of))
    assert isinstance(objective, Mmkd)
    assert objective.scale.item() == pytest.approx(scale, rel=1e-4)
    assert [p.requires_grad for p in objective.parameters()] == [trained]
    if trained:
        (gradient,) = torch.autograd.grad(total(objective, view_of(of)), list(objective.parameters()))
        assert gradient != 0


def test_one_space_compares_a_pair_with_its_own_teacher_s_vectors_only() -> None:
    of = batch()
    settings = DistillSettings(objective="mmkd", mmkd=MmkdSettings(one_space=True))
    objective = objective_of(settings, into_student(of))
    assert isinstance(objective, Mmkd)
    drawn = draw_teacher(of.teachers.available_BT, torch.Generator().manual_seed(5))
    expected = []
    for b, t in enumerate(drawn.tolist()):
        target = into_student(of)[t].target
        rows = of.teachers.available_BT[:, t].nonzero().squeeze(1)
        own = int((rows == b).nonzero())
        for query, side in ((of.image_KD[b], of.teachers.text[t]), (of.text_KD[b], of.teachers.image[t])):
            logits = objective.scale * query @ (side[rows] @ target.map_DE + target.offset_E).T
            expected.append(F.cross_entropy(logits[None], torch.tensor([own])))
    found = objective(view_of(of))["interactive"]
    torch.testing.assert_close(found, torch.stack(expected).mean())


def test_the_interactive_scale_starts_at_the_teacher_s_own() -> None:
    of = batch()
    settings = DistillSettings(objective="interactive")
    objective = Distilled(settings, 8, shapes(of, scale=150.0), torch.Generator().manual_seed(0))
    assert objective.log_scale_T is not None
    torch.testing.assert_close(objective.log_scale_T.exp(), torch.full((3,), 100.0))  # CLIP's largest
