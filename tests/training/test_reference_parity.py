"""The objective `mmkd` on the eight real records, against an oracle from the facts of the public code.

The oracle knows none of our code: per pair one available teacher; total = contrastive + 50 x (MSE of images + MSE of
captions) + interactive, whose scale is log(1 / .07) as it is; the stored projected features keep their lengths.
"""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd.training.data.view import TeacherBatch
from mmkd.training.experimental.targets import Target
from mmkd.training.objectives.mmkd import Mmkd, draw_teacher
from mmkd.training.objectives.objective import TeacherShape
from mmkd.training.settings.distill import DistillSettings, MmkdSettings
from objective_views import Answering, Batch, total, view_of

DIM, RECORDS = 512, 8
AS_IT_COMES = Target(torch.zeros(DIM), torch.zeros(DIM), None, None, 1.0, 1.0)  # the features are projected already
COMMON = ("BMCA", "BiomedCLIP", "QuiltNet", "GenMedClip")  # teachers that all eight records have
Stored = list[dict[str, Tensor]]


@pytest.fixture(scope="module")
def stored(realdata: Path) -> Stored:
    """The projected features of each record, `<teacher>_img` and `<teacher>_txt`."""
    root = realdata / "embeddings" / "MMKDCLIP_DATA"
    lines = [json.loads(line) for line in (root / "meta.jsonl").read_text().splitlines()]
    paths = [root / Path(line["imgpath"]).parent / "clips_project_output.pt" for line in lines]
    return [torch.load(path, weights_only=True) for path in paths]


def teachers_in(stored: Stored) -> list[str]:
    return sorted({key.removesuffix("_img") for record in stored for key in record if key.endswith("_img")})


def of_records(stored: Stored, image: Tensor, text: Tensor, teachers: list[str]) -> Batch:
    """A student's vectors of the records beside the named teachers' stored ones."""
    sides = [
        [torch.stack([record.get(name + side, torch.zeros(DIM)) for record in stored]) for name in teachers]
        for side in ("_img", "_txt")
    ]
    has = torch.tensor([[name + "_img" in record for name in teachers] for record in stored])
    batch = TeacherBatch(sides[0], sides[1], has.float(), has)
    return Batch(image, text, torch.tensor(2.6593), batch, torch.arange(RECORDS), torch.ones(RECORDS))


def student(seed: int) -> tuple[Tensor, Tensor]:
    vectors = torch.randn(2, RECORDS, DIM, generator=torch.Generator().manual_seed(seed))
    image, text = F.normalize(vectors, dim=2)
    return image.requires_grad_(), text.requires_grad_()


def objective(teachers: list[str], **switches: bool) -> Mmkd:
    settings = DistillSettings(objective="mmkd", mmkd=MmkdSettings(**switches))
    return Mmkd(settings, DIM, [TeacherShape(1.0, AS_IT_COMES) for _ in teachers], torch.Generator())


def oracle(stored: Stored, image: Tensor, text: Tensor, drawn: list[str]) -> dict[str, Tensor]:
    their_image = torch.stack([record[name + "_img"] for record, name in zip(stored, drawn, strict=True)])
    their_text = torch.stack([record[name + "_txt"] for record, name in zip(stored, drawn, strict=True)])
    match = torch.arange(len(image))

    def both_ways(left: Tensor, right: Tensor) -> Tensor:
        return (F.cross_entropy(left, match) + F.cross_entropy(right, match)) / 2

    logits = torch.tensor(2.6593).exp() * image @ text.T
    scale = 2.6592600369327783
    return {
        "contrastive": both_ways(logits, logits.T),
        "feature_distance": F.mse_loss(image, their_image) + F.mse_loss(text, their_text),
        "interactive": both_ways(scale * image @ their_text.T, scale * text @ their_image.T),
    }


@pytest.mark.parametrize("seed", range(4))
def test_losses_and_gradients_are_those_of_the_public_code(stored: Stored, seed: int) -> None:
    teachers = teachers_in(stored)
    assert len(teachers) == 8
    image, text = student(seed)
    of = of_records(stored, image, text, teachers)
    number = draw_teacher(of.teachers.available_BT, torch.Generator().manual_seed(seed))
    drawn = [teachers[t] for t in number]
    assert all(name + "_img" in record for name, record in zip(drawn, stored, strict=True))
    expected = oracle(stored, image, text, drawn)
    ours = objective(teachers)
    found = ours(view_of(of, seed=seed))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    whole = expected["contrastive"] + 50 * expected["feature_distance"] + expected["interactive"]
    torch.testing.assert_close(total(ours, view_of(of, seed=seed)), whole, rtol=1e-5, atol=1e-6)
    for one, two in zip(
        torch.autograd.grad(total(ours, view_of(of, seed=seed)), (image, text)),
        torch.autograd.grad(whole, (image, text)),
        strict=True,
    ):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_every_teacher_of_every_record_is_compared_with(stored: Stored) -> None:
    image, text = student(0)
    for name in teachers_in(stored):
        held = [record for record in stored if name + "_img" in record]
        of = of_records(stored, image, text, [name])
        rows = of.teachers.available_BT[:, 0].nonzero().squeeze(1)
        image_of, text_of = image[rows], text[rows]
        vectors = [torch.stack([record[name + side] for record in held]) for side in ("_img", "_txt")]
        batch = TeacherBatch([vectors[0]], [vectors[1]], torch.ones(len(held), 1), torch.ones(len(held), 1).bool())
        alone = Batch(image_of, text_of, of.log_scale, batch, torch.arange(len(held)), torch.ones(len(held)))
        found, expected = objective([name])(view_of(alone)), oracle(held, image_of, text_of, [name] * len(held))
        for part, value in expected.items():
            torch.testing.assert_close(found[part], value, rtol=1e-5, atol=1e-6)


@pytest.fixture
def perfect(stored: Stored) -> Batch:
    """A student that has the direction of what will be drawn for each record, from the teachers that all have."""
    blank = torch.zeros(RECORDS, DIM)
    of = of_records(stored, blank, blank, list(COMMON))
    number = draw_teacher(of.teachers.available_BT, torch.Generator().manual_seed(5))
    image, text = (
        F.normalize(torch.stack([record[COMMON[t] + side] for record, t in zip(stored, number, strict=True)]), dim=1)
        for side in ("_img", "_txt")
    )
    return of_records(stored, image.requires_grad_(), text.requires_grad_(), list(COMMON))


def named(of: Batch, **switches: bool) -> dict[str, Tensor]:
    found: dict[str, Tensor] = objective(list(COMMON), **switches)(view_of(of))
    return found


def test_the_exponentiated_scale_lets_a_perfect_student_be_sure(perfect: Batch) -> None:
    flat, sharp = (named(perfect, exp_scale=flag)["interactive"] for flag in (False, True))
    assert flat > 0.2 > sharp


def test_a_trained_scale_changes_no_value_and_can_fall_or_rise(perfect: Batch) -> None:
    torch.testing.assert_close(named(perfect, train_scale=True), named(perfect))
    ours = objective(list(COMMON), train_scale=True)
    (gradient,) = torch.autograd.grad(ours(view_of(perfect))["interactive"], [ours.log_scale])
    assert gradient < 0  # for this student sharper is better
    assert not objective(list(COMMON)).log_scale.requires_grad


def test_normalised_targets_can_be_reached(perfect: Batch) -> None:
    floor, none = (50 * named(perfect, normalise=flag)["feature_distance"] for flag in (False, True))
    assert 0.1 < floor < 0.4  # the stored lengths lie between 1.1 and 2.6: no unit vector reaches them
    assert none < 1e-10


def test_in_one_space_negatives_are_closer(perfect: Batch) -> None:
    mixed, own = (named(perfect, normalise=True, one_space=flag)["interactive"] for flag in (False, True))
    assert own > mixed  # other teachers' spaces are nearly orthogonal to a pair's own, and so no contest


def test_gathered_gradients_reach_the_pairs_of_other_processes(perfect: Batch) -> None:
    reached = []
    for flag in (False, True):
        world = Answering(0, 2, sums=[torch.tensor(float(RECORDS))])
        loss = objective(list(COMMON), gather_gradient=flag).captions(view_of(perfect, slice(0, 4), world))
        image, _ = torch.autograd.grad(loss, perfect.leaves()[:2])
        reached.append(image[4:].abs().sum())
    assert reached[0] == 0
    assert reached[1] > 0


def test_mmkd_fixed_is_lower_for_the_perfect_student_in_every_term_it_mends(perfect: Batch) -> None:
    settings = DistillSettings(objective="mmkd-fixed")
    fixed = Mmkd(settings, DIM, [TeacherShape(1.0, AS_IT_COMES) for _ in COMMON], torch.Generator())(view_of(perfect))
    as_it_is = named(perfect)
    assert fixed["interactive"] < as_it_is["interactive"]
    assert fixed["feature_distance"] < as_it_is["feature_distance"]
    torch.testing.assert_close(fixed["contrastive"], as_it_is["contrastive"])
