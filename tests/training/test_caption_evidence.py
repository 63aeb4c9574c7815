"""A pair's own caption as evidence beside the stack of the teachers: Bayes' rule by hand, by loops, and by its laws."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from mmkd.training.losses.stacked import alike_captions, caption_evidence, stack_logits
from mmkd.training.objectives.stacked import stacked_term
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.targets.given_captions import LEAST_WRONG, given_captions
from objective_views import PAIRS, Batch, batch, build, on_shards, total, unit, view_of, with_given
from tolerance import assert_rounding, assert_rounding_of_all

pytestmark = pytest.mark.usefixtures("float64")
STACKED = DistillSettings(objective="stacked", other_groups=0.0)


def naive(of: Batch) -> Tensor:
    """KL from the posterior over keys to the student's softmax, both ways, by loops over pairs and keys."""
    known, values = of.teachers, []
    assert known.slope_BT is not None
    assert known.group_B is not None
    assert known.given_B2 is not None
    scale = of.log_scale.exp()
    for b in range(PAIRS):
        asked = [t for t in range(len(known.image)) if known.slope_BT[b, t] > 0]
        same = [k for k in range(PAIRS) if known.group_B[k] == known.group_B[b]]
        keys = [k for k in same if all(known.image[t][k].abs().sum() > 0 for t in asked)]
        slope = {t: known.slope_BT[b, t] for t in asked}
        for side in ("image", "text"):
            prior, given, student = [], [], []
            for k in keys:
                query, key = (known.image, known.text) if side == "image" else (known.text, known.image)
                prior.append(sum(slope[t] * (query[t][b] * key[t][k]).sum() for t in asked))
                apart = sum(
                    (slope[t] * (1 - (known.text[t][b] * known.text[t][k]).sum()) for t in asked), torch.tensor(0.0)
                )
                wrong, factor = known.given_B2[b if side == "image" else k]
                given.append(wrong + factor * torch.exp(-apart))
                mine, theirs = (of.image_KD, of.text_KD) if side == "image" else (of.text_KD, of.image_KD)
                student.append(scale * (mine[b] * theirs[k]).sum())
            posterior = torch.stack(given) * torch.exp(torch.stack(prior))  # type: ignore[arg-type]
            posterior = posterior / posterior.sum()
            values.append((posterior * (posterior.log() - torch.stack(student).log_softmax(dim=0))).sum())
    return torch.stack(values).mean()


def value(of: Batch) -> Tensor:
    return total(build(STACKED, of), view_of(of))


def test_value_and_gradient_are_those_of_bayes_rule_by_loops() -> None:
    of = with_given(batch(seed=3), torch.linspace(0.05, 0.6, PAIRS).tolist(), torch.linspace(4.0, 0.5, PAIRS).tolist())
    expected = naive(of)
    assert_rounding(value(of), expected)
    found = torch.autograd.grad(value(of), of.leaves())
    assert_rounding_of_all(
        dict(zip("its", found, strict=True)),
        dict(zip("its", torch.autograd.grad(expected, of.leaves()), strict=True)),
    )


def test_by_hand_a_caption_among_four_findings_of_which_three_in_eight_are_redrawn() -> None:
    """A teacher that knows nothing leaves what the caption says: right with .625, else any of four."""
    alike = torch.eye(4)
    given = torch.tensor([0.375, 0.625 / 0.25])
    posterior = caption_evidence(alike, given.expand(4, 1, 2)).softmax(dim=1)
    assert_rounding(posterior.diagonal(), torch.full((4,), 0.625 + 0.375 / 4))
    assert_rounding(posterior[0, 1:], torch.full((3,), 0.375 / 4))
    assert_rounding(caption_evidence(alike, given.expand(4, 2)).softmax(dim=0)[:, 0], posterior[0])


def test_captions_that_are_all_wrong_change_nothing() -> None:
    of = batch(seed=2)
    assert_rounding(value(with_given(of, 1.0, 0.0)), value(of))


def test_captions_that_all_mean_the_same_change_nothing() -> None:
    """They are as common as all others together: mean likeness 1."""
    of = batch(seed=2)
    for text in of.teachers.text:
        text[:] = text[1].clone()
    of.teachers.text[0][0] = 0.0
    assert_rounding(value(with_given(of, 0.2, 0.8)), value(of))


def test_equal_captions_are_wholly_alike_and_others_less_the_steeper_the_slopes() -> None:
    text = [unit(5, 6, 1), unit(5, 4, 2)]
    slope = torch.tensor([[3.0, 1.0]]).expand(5, 2)
    alike = alike_captions(text, slope, text)
    assert_rounding(alike.diagonal(), torch.ones(5))
    assert ((alike > 0) & (alike <= 1)).all()
    steeper = alike_captions(text, 2 * slope, text)
    assert_rounding(steeper, alike.square())
    assert_rounding(alike.log(), stack_logits(text, slope, text) - 4.0)


def test_processes_with_parts_of_the_batch_have_the_same_loss() -> None:
    of = with_given(batch(seed=4), torch.linspace(0.1, 0.5, PAIRS).tolist())
    assert_rounding(on_shards(build(STACKED, of), of, [5, 8]), value(of))


def test_pairs_count_as_without_the_evidence() -> None:
    of = batch()
    assert torch.equal(stacked_term(view_of(with_given(of)), STACKED)[1], stacked_term(view_of(of), STACKED)[1])


@dataclass(frozen=True)
class Stored:
    """A teacher's features in memory."""

    text_ND: np.ndarray
    valid_N: np.ndarray

    def take(self, row_B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.text_ND[row_B], self.text_ND[row_B], self.valid_N[row_B]


def stored(text: np.ndarray, failed: Sequence[int] = ()) -> Stored:
    valid_N = np.ones(len(text), dtype=bool)
    valid_N[list(failed)] = False
    return Stored((text * valid_N[:, None]).astype(np.float16), valid_N)


def test_a_meaning_is_as_common_as_its_captions_in_the_group() -> None:
    """Three captions of four mean the same; at a slope of 60 others are not alike at all."""
    text = np.eye(4)[[0, 0, 0, 1, 2, 2]]
    group = np.array(["a"] * 4 + ["b"] * 2)
    slope = np.full((6, 1), 60.0)
    wrong = np.array([0.2] * 4 + [0.0] * 2)
    found = given_captions([stored(text)], np.arange(6), group, slope, wrong, seed=0)  # type: ignore[list-item]
    np.testing.assert_allclose(found[:, 0], [0.2] * 4 + [LEAST_WRONG] * 2, rtol=1e-6)
    expected = [0.8 / 0.75] * 3 + [0.8 / 0.25] + [1 - LEAST_WRONG] * 2
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-5)


def test_commonness_is_the_mean_likeness_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    texts = [rng.normal(size=(40, 6)), rng.normal(size=(40, 3))]
    texts = [text / np.linalg.norm(text, axis=1, keepdims=True) for text in texts]
    slope = np.tile([2.0, 3.0], (40, 1))
    teachers = [stored(text) for text in texts]
    found = given_captions(teachers, np.arange(40), np.array(["x"] * 40), slope, np.full(40, 0.25), seed=0)  # type: ignore[arg-type]
    as_tensors = [torch.from_numpy(teacher.text_ND.astype(np.float64)) for teacher in teachers]
    alike = alike_captions(as_tensors, torch.from_numpy(slope), as_tensors)
    np.testing.assert_allclose(found[:, 1], 0.75 / alike.mean(dim=1).numpy(), rtol=1e-4)


def test_a_caption_without_features_is_judged_by_the_other_teachers() -> None:
    text = np.eye(3)[[0, 0, 1, 1]]
    both = [stored(text, failed=[0]), stored(text)]
    slope = np.full((4, 2), 50.0)
    found = given_captions(both, np.arange(4), np.array(["x"] * 4), slope, np.full(4, 0.5), seed=0)  # type: ignore[arg-type]
    np.testing.assert_allclose(found[:, 1], 1.0, rtol=1e-4)


def test_a_sample_stands_for_a_large_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmkd.training.targets.given_captions.SAMPLE", 200)
    monkeypatch.setattr("mmkd.training.targets.given_captions.BLOCK", 64)
    text = np.eye(4)[np.arange(2000) % 4]
    one = [stored(text)]
    found = given_captions(
        one, np.arange(2000), np.array(["x"] * 2000), np.full((2000, 1), 60.0), np.zeros(2000), seed=1
    )  # type: ignore[arg-type]
    assert np.abs((1 - LEAST_WRONG) / found[:, 1] - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 200)
