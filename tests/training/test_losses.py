"""Losses: hand-worked values and laws."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd.training import losses


def unit(rows: int, dim: int = 5, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def own(rows: int) -> torch.Tensor:
    return torch.eye(rows, dtype=torch.bool)


def test_info_nce_by_hand() -> None:
    vectors = torch.eye(2)
    # logits [[2, 0], [0, 2]]: each row costs log(1 + e^-2)
    assert losses.info_nce(vectors, vectors, 2.0, own(2)).item() == pytest.approx(math.log1p(math.exp(-2)))


def test_info_nce_is_the_cross_entropy_of_torch() -> None:
    image, text = unit(6, seed=1), unit(6, seed=2)
    expected = F.cross_entropy(14.3 * image @ text.T, torch.arange(6))
    torch.testing.assert_close(losses.info_nce(image, text, 14.3, own(6)), expected)


def test_info_nce_on_shards_averages_to_the_whole_batch() -> None:
    image, text = unit(6, seed=1), unit(6, seed=2)
    shards = [losses.info_nce(image[i : i + 2], text, 14.3, own(6)[i : i + 2]) for i in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(shards).mean(), losses.info_nce(image, text, 14.3, own(6)))


def test_the_clip_loss_does_not_care_about_order_or_sides() -> None:
    image, text, order = unit(6, seed=1), unit(6, seed=2), torch.randperm(6)
    loss = losses.contrastive(image, text, 10.0, own(6))
    torch.testing.assert_close(losses.contrastive(image[order], text[order], 10.0, own(6)), loss)
    torch.testing.assert_close(losses.contrastive(text, image, 10.0, own(6)), loss)


def test_equal_captions_are_no_negatives_of_one_another() -> None:
    image = unit(2, seed=3)
    text = unit(1, seed=4).repeat(2, 1)
    alike = torch.ones(2, 2, dtype=torch.bool)
    # both captions are the same vector: each image gives both the same probability, which is the target
    assert losses.info_nce(image, text, 50.0, alike).item() == pytest.approx(math.log(2))
    gradient = torch.autograd.functional.jacobian(lambda x: losses.info_nce(x, text, 50.0, alike), image)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-5, rtol=0)


def test_affinity_is_zero_where_student_and_teacher_agree() -> None:
    image, text = unit(5, seed=1), unit(5, seed=2)
    total, norm = losses.affinity(image, text, 7.0, 7.0 * image @ text.T, torch.ones(5))
    assert total.item() == pytest.approx(0.0, abs=1e-5)
    assert norm.item() == 5.0


@given(st.integers(0, 10_000), st.integers(2, 8))
@settings(max_examples=30, deadline=None)
def test_affinity_is_never_negative_and_adds_over_pairs(seed: int, rows: int) -> None:
    image, text, target = unit(rows, seed=seed), unit(rows, seed=seed + 1), 5 * torch.randn(rows, rows)
    total, _ = losses.affinity(image, text, 7.0, target, torch.ones(rows))
    assert total.item() >= -1e-5
    parts = [losses.affinity(image, text, 7.0, target, torch.eye(rows)[k])[0] for k in range(rows)]
    torch.testing.assert_close(torch.stack(parts).sum(), total, atol=1e-4, rtol=1e-4)


def test_affinity_by_hand() -> None:
    # the student is indifferent (log 2 each way), the teacher sure: KL = log 2 - H(teacher)
    image = text = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    target = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    p = 1 / (1 + math.exp(-3))
    entropy = -(p * math.log(p) + (1 - p) * math.log(1 - p))
    total, _ = losses.affinity(image, text, 1.0, target, torch.tensor([1.0, 0.0]))
    assert total.item() == pytest.approx(math.log(2) - entropy, rel=1e-5)


@pytest.mark.parametrize(("angle", "dispersion"), [(0.5, 0.25), (1.0, 2.0), (2.0, 1.0)])
def test_squared_angle_by_hand(angle: float, dispersion: float) -> None:
    predicted = torch.tensor([[math.cos(angle), math.sin(angle)]]) * 3.0  # length does not matter
    found = losses.squared_angle(predicted, torch.tensor([[1.0, 0.0]]), dispersion)
    assert found.item() == pytest.approx(angle**2 / dispersion, rel=1e-4)


def test_squared_angle_has_a_finite_gradient_at_the_target() -> None:
    predicted = unit(3).requires_grad_()
    losses.squared_angle(predicted, predicted.detach().clone(), 1.0).sum().backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()


def test_the_references_terms_by_hand() -> None:
    image, text = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert losses.feature_distance(image, text, image, text).item() == 0.0
    # each image differs by (1, -1): mean square 1; captions agree
    assert losses.feature_distance(image, text, text, text).item() == pytest.approx(1.0)
    # student images against teacher captions: own cosine 0, other 1, at scale 2.66
    expected = math.log1p(math.exp(2.66))
    assert losses.interactive(image, text, image, text, 2.66).item() == pytest.approx(expected, rel=1e-4)
