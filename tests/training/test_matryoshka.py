"""Vectors whose first dimensions are vectors by themselves: what is added up, and what training makes of it."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd.errors import ConfigError
from mmkd.training.matryoshka import check_matryoshka, matryoshka_losses
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.train import PretrainSettings
from objective_views import DIM, Batch, batch, build, view_of
from tolerance import assert_rounding, assert_rounding_of_all

pytestmark = pytest.mark.usefixtures("float64")


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def first(of: Batch, dim: int) -> Batch:
    """The batch of a student that has these dimensions only."""
    return replace(
        of, image_KD=F.normalize(of.image_KD[:, :dim], dim=1), text_KD=F.normalize(of.text_KD[:, :dim], dim=1)
    )


@pytest.mark.parametrize("objective", ["contrastive", "affinity", "stacked", "relational"])
@pytest.mark.parametrize("dims", [(), (3,), (5, 2)])
def test_the_loss_is_the_mean_of_those_of_students_with_fewer_dimensions(objective: str, dims: tuple[int, ...]) -> None:
    of = batch(seed=1)
    drawn = {"weighting": "dropping"} if objective == "affinity" else {}  # all of them have to draw the same
    made = build(DistillSettings(objective=objective, **drawn), of)  # type: ignore[arg-type]
    found = matryoshka_losses(made, view_of(of), dims, draws)
    each = [made(view_of(student)) for student in (of, *(first(of, dim) for dim in dims))]
    expected = {name: torch.stack([losses[name] for losses in each]).mean() for name in each[0]}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_rounding(found[name], value)

    def gradients(losses: dict[str, Tensor]) -> dict[str, Tensor]:
        total = torch.stack(list(losses.values())).sum()
        return dict(zip("its", torch.autograd.grad(total, of.leaves(), retain_graph=True), strict=True))

    assert_rounding_of_all(gradients(found), gradients(expected))


def test_the_numbers_must_be_smaller_than_the_student_and_stand_once() -> None:
    check_matryoshka((4, 2), DIM)
    with pytest.raises(ConfigError, match="matryoshka: 8, 9, but the student's vectors have 8 dimensions"):
        check_matryoshka((4, 8, 9), DIM)
    with pytest.raises(ValueError, match="twice: 4, 4"):
        PretrainSettings(matryoshka=(4, 4))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"objective": "mmkd"}, "objective 'mmkd'"),
        ({"objective": "heads"}, "the term 'heads'"),
        ({"terms": {"interactive": 0.1}}, "the term 'interactive'"),
    ],
)
def test_what_maps_all_dimensions_does_not_go_with_it(changes: dict[str, object], what: str) -> None:
    with pytest.raises(ValueError, match=f"matryoshka does not go with {what}"):
        DistillSettings(matryoshka=(4,), **changes)  # type: ignore[arg-type]
