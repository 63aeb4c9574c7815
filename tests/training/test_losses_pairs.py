"""Losses of pairs against keys under masks, by sigmoid, between relations, and in chunks."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd.training.experimental.heads import cosine_distance, smooth_l1, squared_error
from mmkd.training.experimental.relational import mean_distance, too_close
from mmkd.training.losses.contrastive import affinity, info_nce, kl_rows, sigmoid_pairs
from mmkd.training.losses.memory import in_chunks
from objective_views import unit
from tolerance import assert_rounding

pytestmark = pytest.mark.usefixtures("float64")
OWN = torch.eye(6, dtype=torch.bool)
KEYS = torch.tensor([True, True, False, True, False, True])


def test_sigmoid_pairs_by_hand() -> None:
    # logits 2 and 0 before the bias of -1: the pair costs log(1 + e^-1), the other key log(1 + e^-1) too
    found = sigmoid_pairs(torch.eye(2), torch.eye(2), 2.0, -1.0, OWN[:2, :2])
    torch.testing.assert_close(found, torch.full((2,), 2 * math.log1p(math.exp(-1.0))))


def test_sigmoid_pairs_is_the_binary_cross_entropy_of_torch() -> None:
    image, text = unit(6, seed=1), unit(6, seed=2)
    logits = 10.0 * image @ text.T - 10.0
    expected = F.binary_cross_entropy_with_logits(logits, OWN.double(), reduction="none").sum(dim=1)
    torch.testing.assert_close(sigmoid_pairs(image, text, 10.0, -10.0, OWN), expected)


def test_sigmoid_pairs_does_not_let_keys_compete() -> None:
    image, text = unit(6, seed=1), unit(6, seed=2)
    halves = [sigmoid_pairs(image, text[part], 9.0, -2.0, OWN[:, part]) for part in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(halves[0] + halves[1], sigmoid_pairs(image, text, 9.0, -2.0, OWN))


def test_info_nce_over_some_keys_is_that_without_the_others() -> None:
    image, text = unit(6, seed=1), unit(6, seed=2)
    expected = info_nce(image[KEYS], text[KEYS], 9.0, OWN[KEYS][:, KEYS])
    found = info_nce(image, text, 9.0, OWN, KEYS)
    torch.testing.assert_close(found[KEYS], expected)
    assert (found[~KEYS] == 0).all()


def test_affinity_over_some_keys_is_that_without_the_others() -> None:
    image, text, their_image, their_text = (unit(6, dim, seed) for seed, dim in enumerate((5, 5, 7, 7)))
    expected = kl_rows(8.0 * their_image @ their_text[KEYS].T, 5.0 * image @ text[KEYS].T)
    torch.testing.assert_close(affinity(image, text, 5.0, their_image, their_text, 8.0, KEYS), expected)
    nobody = torch.zeros(6, dtype=torch.bool)
    torch.testing.assert_close(affinity(image, text, 5.0, their_image, their_text, 8.0, nobody), torch.zeros(6))


@pytest.mark.parametrize(("degrees", "expected"), [(0, 0.0), (60, 0.5), (90, 1.0), (180, 2.0)])
def test_cosine_distance_by_hand(degrees: float, expected: float) -> None:
    turned = torch.tensor([[math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]])
    assert_rounding(cosine_distance(7.0 * turned, torch.tensor([[0.3, 0.0]])), [expected], size=1.0)


def test_squared_error_and_smooth_l1_by_hand() -> None:
    predicted, target = torch.tensor([[0.5, 3.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(squared_error(predicted, target), torch.tensor([(0.25 + 9.0) / 2, 0.0]))
    torch.testing.assert_close(smooth_l1(predicted, target), torch.tensor([(0.125 + 2.5) / 2, 0.0]))


def test_mean_distance_is_the_mean_over_the_pairs() -> None:
    key = unit(6, seed=4)
    apart = [1 - key[i] @ key[j] for i in range(6) for j in range(6) if i != j and KEYS[i] and KEYS[j]]
    torch.testing.assert_close(mean_distance(key, KEYS), torch.stack(apart).mean())
    assert mean_distance(key, OWN[0]).item() == 1.0


def test_too_close_by_hand() -> None:
    # the teacher: a right angle everywhere. The student: 60 degrees to the second, 90 to the third
    student = torch.tensor([[1.0, 0.0, 0.0], [0.5, math.sqrt(0.75), 0.0], [0.0, 0.0, 1.0]])
    one = torch.ones(())
    found = too_close(student, student, torch.eye(3), torch.eye(3), one, one, ~OWN[:3, :3])
    # rows 0 and 1 are short of each other by .5: Huber's .125, mean over two others
    torch.testing.assert_close(found, torch.tensor([0.0625, 0.0625, 0.0]))


def test_too_close_asks_nothing_where_the_student_is_farther_away() -> None:
    far, one = torch.eye(6), torch.ones(())
    near = torch.linalg.cholesky(0.5 * torch.eye(6) + 0.5)  # unit rows, 60 degrees apart
    torch.testing.assert_close(too_close(far, far, near, near, one, one, ~OWN), torch.zeros(6))
    torch.testing.assert_close(too_close(near, near, far, far, one, one, ~OWN), torch.full((6,), 0.125))
    # over their own mean distances both are evenly spread: nothing is too close any more
    half = torch.tensor(0.5)
    assert_rounding(too_close(near, near, far, far, half, one, ~OWN), torch.zeros(6), size=1.0)


@pytest.mark.parametrize("cells", [1, 12, 30, 10_000])
def test_chunks_have_the_values_and_gradients_of_the_whole(cells: int) -> None:
    query, key = unit(7, seed=1).requires_grad_(), unit(6, seed=2).requires_grad_()
    positive = torch.rand(7, 6, generator=torch.Generator().manual_seed(0)) < 0.4
    seen: list[int] = []

    def loss(query: Tensor, positive: Tensor) -> Tensor:
        seen.append(len(query))
        return info_nce(query, key, 3.0, positive)

    found = in_chunks(loss, (query, positive), width=6, cells=cells)
    expected = info_nce(query, key, 3.0, positive)
    torch.testing.assert_close(found, expected)
    assert max(seen) <= max(1, cells // 6)
    assert sum(seen) == 7
    weight = torch.arange(7.0)
    for one, two in zip(
        torch.autograd.grad((found * weight).sum(), (query, key)),
        torch.autograd.grad((expected * weight).sum(), (query, key)),
        strict=True,
    ):
        torch.testing.assert_close(one, two)
    assert sum(seen) == (7 if cells >= 42 else 14)  # what was in chunks is computed again, what fits is not


def test_equal_captions_alone_make_joint_positives_the_same_loss_under_softmax() -> None:
    """Equal captions have one vector, so a pair's caption and its repeat cost the same; pictures repeated as well as
    captions, of other pairs, do change the sum."""
    caption, picture = torch.tensor([0, 0, 1, 2, 2, 3]), torch.tensor([0, 1, 1, 2, 3, 4])
    text, image, pictures = unit(6, seed=1)[caption], unit(6, seed=2), unit(6, seed=2)[picture]

    def both(image: Tensor, positive: Tensor) -> Tensor:
        return (info_nce(image, text, 9.0, positive) + info_nce(text, image, 9.0, positive)).mean()

    joint = caption[:, None] == caption
    assert_rounding(both(image, joint), both(image, OWN))
    apart = both(pictures, joint | (picture[:, None] == picture)) - both(pictures, OWN)
    assert abs(float(apart)) > 1e-3
