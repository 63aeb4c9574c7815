"""Losses: hand-worked values and laws."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmkd.training.experimental.heads import squared_angle
from mmkd.training.losses.contrastive import info_nce, kl_rows
from tolerance import assert_rounding

pytestmark = pytest.mark.usefixtures("float64")


def unit(rows: int, dim: int = 5, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def own(rows: int) -> torch.Tensor:
    return torch.eye(rows, dtype=torch.bool)


def test_info_nce_by_hand() -> None:
    vectors = torch.eye(2)
    # logits [[2, 0], [0, 2]]: each row costs log(1 + e^-2)
    assert info_nce(vectors, vectors, 2.0, own(2)).mean().item() == pytest.approx(math.log1p(math.exp(-2)))


def test_info_nce_is_the_cross_entropy_of_torch() -> None:
    image, text = unit(6, seed=1), unit(6, seed=2)
    expected = F.cross_entropy(14.3 * image @ text.T, torch.arange(6))
    torch.testing.assert_close(info_nce(image, text, 14.3, own(6)).mean(), expected)


def test_info_nce_on_shards_averages_to_the_whole_batch() -> None:
    image, text = unit(6, seed=1), unit(6, seed=2)
    shards = [info_nce(image[i : i + 2], text, 14.3, own(6)[i : i + 2]) for i in (0, 2, 4)]
    torch.testing.assert_close(torch.cat(shards), info_nce(image, text, 14.3, own(6)))


def test_equal_captions_are_no_negatives_of_one_another() -> None:
    image = unit(2, seed=3)
    text = unit(1, seed=4).repeat(2, 1)
    alike = torch.ones(2, 2, dtype=torch.bool)
    # both captions are the same vector: each image gives both the same probability, which is the target
    assert info_nce(image, text, 50.0, alike).mean().item() == pytest.approx(math.log(2))
    gradient = torch.autograd.functional.jacobian(lambda x: info_nce(x, text, 50.0, alike).mean(), image)
    assert_rounding(gradient, torch.zeros_like(gradient), size=50.0)


def test_the_divergence_is_zero_where_student_and_teacher_agree_and_adds_over_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(2, 5, 5, generator=generator)
    assert_rounding(kl_rows(logits, logits), torch.zeros(5), size=1.0)
    teacher, student = target.softmax(dim=1), logits.softmax(dim=1)
    by_definition = torch.stack([(t * (t / s).log()).sum() for t, s in zip(teacher, student, strict=True)])
    assert_rounding(kl_rows(target, logits), by_definition)
    assert (by_definition > 0.01).all()
    both = kl_rows(torch.cat([target, logits]), torch.cat([logits, logits]))
    assert_rounding(both, torch.cat([by_definition, torch.zeros(5)]))


def test_the_divergence_by_hand() -> None:
    # the student is indifferent (log 2), the teacher sure: KL = log 2 - H(teacher)
    p = 1 / (1 + math.exp(-3))
    entropy = -(p * math.log(p) + (1 - p) * math.log(1 - p))
    found = kl_rows(torch.tensor([[3.0, 0.0]]), torch.zeros(1, 2))
    assert found.item() == pytest.approx(math.log(2) - entropy, rel=1e-12)


@pytest.mark.parametrize(("angle", "dispersion"), [(0.5, 0.25), (1.0, 2.0), (2.0, 1.0)])
def test_squared_angle_by_hand(angle: float, dispersion: float) -> None:
    predicted = torch.tensor([[math.cos(angle), math.sin(angle)]]) * 3.0  # length does not matter
    found = squared_angle(predicted, torch.tensor([[1.0, 0.0]]), dispersion)
    assert found.item() == pytest.approx(angle**2 / dispersion, rel=1e-9)


def test_squared_angle_has_a_finite_gradient_at_the_target() -> None:
    predicted = unit(3).requires_grad_()
    squared_angle(predicted, predicted.detach().clone(), 1.0).sum().backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()
