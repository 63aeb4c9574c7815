"""The term `stacked`: one softmax of all teachers' weighted cosines, and what it makes of pairs and keys left out."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd.errors import ConfigError
from mmkd.training.data.view import TeacherBatch
from mmkd.training.losses.contrastive import MASKED, kl_rows
from mmkd.training.losses.stacked import comparable_keys, follow_stack, has_vectors, stack_logits
from mmkd.training.objectives.distilled import Distilled, affinity_term
from mmkd.training.objectives.stacked import stacked_term
from mmkd.training.settings.distill import DistillSettings
from objective_views import PAIRS, Batch, batch, build, shapes, total, unit, view_of
from tolerance import assert_rounding, assert_rounding_of_all

pytestmark = pytest.mark.usefixtures("float64")
STACKED = DistillSettings(objective="stacked")


def of_slopes(of: Batch, slope_KT: Tensor, teachers: list[int] | None = None) -> Batch:
    """The same batch with other slopes, and with the teachers of these numbers, in this order."""
    chosen = list(range(len(of.teachers.image))) if teachers is None else teachers
    known = of.teachers
    image, text = ([side[t] for t in chosen] for side in (known.image, known.text))
    weight, available = known.weight_BT[:, chosen], known.available_BT[:, chosen]
    return replace(of, teachers=TeacherBatch(image, text, weight, available, slope_KT, known.group_B))


def value(of: Batch, settings: DistillSettings = STACKED) -> Tensor:
    return total(build(settings, of), view_of(of))


def gradients(of: Batch, settings: DistillSettings = STACKED) -> dict[str, Tensor]:
    found = torch.autograd.grad(value(of, settings), of.leaves())
    return dict(zip(("image", "text", "scale"), found, strict=True))


def naive(of: Batch, sharpness: float = 1.0, others: float = 0.1) -> Tensor:
    """The same by two loops over pairs and keys: KL of the student from the stack, both ways, over comparable keys, and
    the student's surprise that keys of other groups are none."""
    known, values = of.teachers, []
    assert known.slope_BT is not None
    assert known.group_B is not None
    for b in range(PAIRS):
        asked = [t for t in range(len(known.image)) if known.slope_BT[b, t] > 0]
        keys = [
            k
            for k in range(PAIRS)
            if known.group_B[k] == known.group_B[b] and all(known.image[t][k].abs().sum() > 0 for t in asked)
        ]
        if not asked:
            continue
        for side in ("image", "text"):
            query, key = (known.image, known.text) if side == "image" else (known.text, known.image)
            mine, theirs = (of.image_KD, of.text_KD) if side == "image" else (of.text_KD, of.image_KD)
            products = [[known.slope_BT[b, t] * (query[t][b] * key[t][k]).sum() for t in asked] for k in keys]
            stack = torch.stack([torch.stack(one).sum() for one in products])
            student = of.log_scale.exp() * torch.stack([(mine[b] * theirs[k]).sum() for k in range(PAIRS)])
            target = (sharpness * stack).softmax(dim=0)
            wrong = [k for k in range(PAIRS) if known.group_B[k] != known.group_B[b]]
            surprise = -(student[keys].exp().sum() / student[keys + wrong].exp().sum()).log()
            values.append((target * (target.log() - student[keys].log_softmax(dim=0))).sum() + others * surprise)
    return torch.stack(values).mean()


@pytest.mark.parametrize(("sharpness", "others"), [(1.0, 0.1), (0.4, 0.0), (1.0, 1.0)])
def test_value_and_gradient_are_those_of_two_loops(sharpness: float, others: float) -> None:
    of = batch(seed=3)
    settings = DistillSettings(objective="stacked", sharpness=sharpness, other_groups=others)
    expected = naive(of, sharpness, others)
    assert_rounding(value(of, settings), expected)
    by_loops = dict(zip(("image", "text", "scale"), torch.autograd.grad(expected, of.leaves()), strict=True))
    assert_rounding_of_all(gradients(of, settings), by_loops)


def test_one_teacher_of_slope_s_is_affinity_at_the_scale_s() -> None:
    of = batch()
    one = of_slopes(of, torch.full((PAIRS, 1), 7.0), [1])
    assert one.teachers.group_B is not None
    one.teachers.group_B.zero_()
    one.teachers.weight_BT.fill_(1.0)
    known = shapes(one, scale=7.0)
    affine = Distilled(DistillSettings(objective="affinity"), 8, known, torch.Generator())
    assert_rounding(value(one), total(affine, view_of(one)))
    view = view_of(one)
    of_each, counted = stacked_term(view, STACKED)
    assert_rounding(of_each, affinity_term(view, affine._inputs(view)[0]))
    assert (counted == 1).all()


def test_the_order_of_the_teachers_changes_nothing() -> None:
    of = batch()
    assert of.teachers.slope_BT is not None
    turned = of_slopes(of, of.teachers.slope_BT[:, [2, 0, 1]], [2, 0, 1])
    assert_rounding(value(turned), value(of))
    assert_rounding_of_all(gradients(turned), gradients(of))


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_teacher_of_slope_zero_changes_no_bit(place: int) -> None:
    of = batch()
    assert of.teachers.slope_BT is not None
    order, columns = [0, 1, 2], list(of.teachers.slope_BT.T)
    order.insert(place, 0)  # which lacks a pair: that leaves out no key either
    columns.insert(place, torch.zeros(PAIRS))
    more = of_slopes(of, torch.stack(columns, dim=1), order)
    assert torch.equal(value(more), value(of))
    for with_it, without in zip(gradients(more).values(), gradients(of).values(), strict=True):
        assert torch.equal(with_it, without)


def test_two_teachers_alike_of_slopes_a_and_b_are_one_of_their_sum() -> None:
    of = batch()
    assert of.teachers.slope_BT is not None
    once = of.teachers.slope_BT
    share = torch.linspace(0.1, 0.9, PAIRS)
    twice = torch.cat([once[:, :2], (once[:, 2] * share)[:, None], (once[:, 2] * (1 - share))[:, None]], dim=1)
    two = of_slopes(of, twice, [0, 1, 2, 2])
    assert_rounding(value(two), value(of))
    assert_rounding_of_all(gradients(two), gradients(of))


def test_what_a_teacher_adds_to_all_cosines_of_a_query_changes_nothing() -> None:
    """An axis of its own that all captions of a teacher share shifts its cosines with every picture."""
    of = batch()
    known = of.teachers
    sides = ((known.image[2], 0.3), (known.text[2], 5.0))
    image, text = (torch.cat([side, torch.full((PAIRS, 1), height)], dim=1) for side, height in sides)
    moved = replace(of, teachers=replace(known, image=[*known.image[:2], image], text=[*known.text[:2], text]))
    assert_rounding(value(moved), value(of))


def test_pairs_without_a_slope_teach_nothing_and_are_not_counted() -> None:
    of = batch()
    assert of.teachers.slope_BT is not None
    lost = torch.tensor([2, 4])
    slope_KT = of.teachers.slope_BT.clone()
    slope_KT[lost] = 0.0
    without = of_slopes(of, slope_KT)
    whole, counted = stacked_term(view_of(of), STACKED)
    assert counted.tolist() == [1.0] * PAIRS
    kept = torch.ones(PAIRS, dtype=torch.bool)
    kept[lost] = False
    assert_rounding(value(without), whole[kept].mean())
    assert stacked_term(view_of(without), STACKED)[1].bool().equal(kept)
    nobody = of_slopes(of, torch.zeros(PAIRS, 3))
    assert value(nobody).item() == 0.0
    assert all((one == 0).all() for one in gradients(nobody).values())


def test_keys_that_a_teacher_lacks_are_left_out_where_it_has_a_slope() -> None:
    key = [unit(4, 3, 1), unit(4, 2, 2)]
    key[0][1], key[1][3] = 0.0, 0.0
    slope = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.0]])
    has = has_vectors(key)
    assert has.tolist() == [[True, True], [False, True], [True, True], [True, False]]
    T, F_ = True, False
    assert comparable_keys(slope, has).tolist() == [[T, F_, T, F_], [T, T, T, F_], [T, F_, T, T], [T, T, T, T]]


def test_the_logits_by_hand() -> None:
    query = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8]])]
    key = [torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.8, 0.6]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])]
    found = stack_logits(query, torch.tensor([[10.0, 5.0]]), key)
    torch.testing.assert_close(found, torch.tensor([[0.0 + 3.0, 10.0 + 4.0, 8.0 + 0.0]]))


def test_sharpness_multiplies_the_slopes() -> None:
    of = batch()
    assert of.teachers.slope_BT is not None
    doubled = of_slopes(of, 2.0 * of.teachers.slope_BT)
    assert_rounding(value(of, DistillSettings(objective="stacked", sharpness=2.0)), value(doubled))


def test_the_weights_of_the_teachers_have_no_part() -> None:
    of = batch()
    before = value(of)
    of.teachers.weight_BT.zero_()
    assert torch.equal(value(of), before)


def test_beside_affinity_each_has_its_own_value() -> None:
    of = batch()
    both = build(DistillSettings(objective="affinity", terms={"stacked": 0.5}), of)(view_of(of))
    assert_rounding(both["stacked"], value(of))
    assert_rounding(both["affinity"], value(of, DistillSettings(objective="affinity")))


def test_without_slopes_it_says_where_they_come_from() -> None:
    of = batch()
    without = replace(of, teachers=replace(of.teachers, slope_BT=None, group_B=None))
    with pytest.raises(ConfigError, match=r'\[reliability\] method = "stacking"'):
        value(without)


def test_a_student_that_is_the_stack_has_a_loss_of_zero() -> None:
    """Two teachers of equal slopes side by side are a student of their own."""
    of = batch()
    slope = torch.full((PAIRS, 2), 6.0)
    two = of_slopes(of, slope, [1, 2])
    image, text = (F.normalize(torch.cat(side, dim=1), dim=1) for side in (two.teachers.image, two.teachers.text))
    student = replace(two, image_KD=image, text_KD=text, log_scale=torch.tensor(12.0).log())
    assert_rounding(
        value(student, DistillSettings(objective="stacked", other_groups=0.0)), torch.tensor(0.0), size=12.0
    )


def test_other_groups_at_weight_one_are_one_softmax_in_which_they_have_no_probability() -> None:
    of = batch()
    target, logits = 3.0 * unit(6, 9, 1), 5.0 * unit(6, 9, 2)
    key = torch.arange(9) < 4
    whole = kl_rows(target.masked_fill(~key, MASKED), logits)
    assert_rounding(follow_stack(target, logits, key.expand(6, 9), ~key.expand(6, 9), 1.0), whole)
    apart = follow_stack(target, logits, key.expand(6, 9), ~key.expand(6, 9), 0.0)
    assert_rounding(apart, kl_rows(target[:, :4], logits[:, :4]))
    values = [value(of, DistillSettings(objective="stacked", other_groups=weight)) for weight in (0.0, 0.5, 1.0)]
    assert_rounding(values[1], (values[0] + values[2]) / 2)
    assert values[0] < values[2]
