"""Inner folds choose, outer folds measure; gains, errors and intervals against values worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
from test_methods import unit

from mmkd.adapt.gain import gain_error, gain_of, lower_end
from mmkd.adapt.measure import METRICS, Measured, Protocol, Value, compare, measure, outer_folds
from mmkd.adapt.select import ZERO_SHOT, Labelled, choose, draw_shots
from mmkd.adapt.words import heads_and_lines, methods_in, verdict
from mmkd.statistics.metrics import Array

FAST = Protocol(shots=(1, 4, None), seeds=2, folds=3, inner_folds=3)


def labelled(label_N: Array, group_N: Array | None = None, spread: float = 0.3, prompts: float = 0.0) -> Labelled:
    """prompts: how far the prompts are from the classes' directions, 0 right and 1 anywhere."""
    rng = np.random.default_rng(3)
    classes, dim = int(label_N.max()) + 1, 12
    centre_CD = unit(rng.normal(size=(classes, dim)))
    vector_ND = unit(centre_CD[label_N] + spread * rng.normal(size=(len(label_N), dim)))
    text_CD = unit((1 - prompts) * centre_CD + prompts * rng.normal(size=centre_CD.shape))
    groups = np.arange(len(label_N)) if group_N is None else group_N
    return Labelled(vector_ND, label_N, groups, text_CD, 30.0)


def test_standard_error_of_a_gain_by_hand() -> None:
    """Four pictures in two classes, three groups. Parts: 1/4 for each difference; groups 0, 0, 1 and 2."""
    data = labelled(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]))
    first, second = np.array([True, True, True, False]), np.array([False, False, True, True])
    parts = np.array([0.5, 0.0, -0.25])
    expected = np.sqrt(3 / 2 * ((parts - parts.mean()) ** 2).sum())
    assert gain_error(first, second, data.label_N, data.group_N) == pytest.approx(expected)


def test_the_lower_end_is_students_with_bonferroni() -> None:
    """Of tables: t at 0.95 with 10 degrees of freedom is 1.812; for the best of five at 0.99 it is 2.764."""
    assert lower_end(0.2, 0.1, 11, 1) == pytest.approx(0.2 - 0.1812, abs=1e-4)
    assert lower_end(0.2, 0.1, 11, 5) == pytest.approx(0.2 - 0.2764, abs=1e-4)
    assert lower_end(0.2, 0.0, 1, 1) == -np.inf  # one group does not say how groups differ


def test_a_gain_of_one_standard_error_is_not_clear() -> None:
    """Eight groups of two classes: two more are right, one fewer. By hand the gain is 1/8, its standard error .209."""
    label_N, group_N = np.tile([0, 1], 4), np.arange(8)
    first_N, second_N = np.array([1, 1, 0, 1, 1, 1, 1, 1], bool), np.array([0, 0, 1, 1, 1, 1, 1, 1], bool)
    found = gain_of(first_N, second_N, label_N, group_N, 1)
    part_G = (first_N.astype(float) - second_N) / 8
    assert found.value == pytest.approx(1 / 8)
    assert found.error == pytest.approx(np.sqrt(8 / 7 * ((part_G - 1 / 64) ** 2).sum()))
    assert not found.is_clear
    assert gain_of(np.ones(8, bool), np.zeros(8, bool), label_N, group_N, 5).is_clear


def test_shots_come_from_as_many_groups_as_there_are() -> None:
    label_N = np.repeat([0, 1], 12)
    group_N = np.concatenate([np.repeat([0, 1, 2], 4), np.arange(3, 15)])
    data = labelled(label_N, group_N)
    rows = draw_shots(data, np.arange(24), 4, np.random.default_rng(0))
    assert np.bincount(label_N[rows]).tolist() == [4, 4]
    assert set(group_N[rows[label_N[rows] == 0]].tolist()) == {0, 1, 2}
    assert len(draw_shots(data, np.arange(24), 100, np.random.default_rng(0))) == 24
    assert draw_shots(data, np.arange(24), None, np.random.default_rng(0)).tolist() == list(range(24))


def test_wrong_prompts_are_adapted_and_right_ones_are_kept() -> None:
    label_N = np.tile(np.arange(3), 40)
    wrong = choose(labelled(label_N, prompts=1.0), 3, np.random.default_rng(0))
    right = choose(labelled(label_N, prompts=0.0), 3, np.random.default_rng(0))
    assert wrong.candidate != ZERO_SHOT
    assert wrong.gain is not None
    assert wrong.gain.value > 3 * wrong.gain.error
    assert "at the lower end of the one-sided 95% interval" in wrong.why
    assert right.candidate == ZERO_SHOT
    assert "no clear gain" in right.why


def test_labels_that_say_nothing_are_not_learnt_from() -> None:
    data = labelled(np.tile(np.arange(3), 40), prompts=0.3)
    shuffled = Labelled(
        data.vector_ND, np.random.default_rng(5).permutation(data.label_N), data.group_N, data.text_CD, data.scale
    )
    found = choose(shuffled, 3, np.random.default_rng(0)).gain
    assert found is not None
    assert found.value < 0.2


def test_one_group_a_class_leaves_nothing_to_choose_by() -> None:
    found = choose(labelled(np.array([0, 1, 2])), 3, np.random.default_rng(0))
    assert found.logit_NC is None
    assert "nothing to choose by" in found.why


def test_inner_folds_cut_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group is never fitted and predicted at once: pictures of a group are equal, and the prompts are useless."""
    group_N = np.repeat(np.arange(30), 4)
    rng = np.random.default_rng(1)
    vector_ND = unit(rng.normal(size=(30, 12)))[group_N]  # says the group, and nothing of the class
    data = Labelled(vector_ND, (np.arange(30) % 2)[group_N], group_N, unit(rng.normal(size=(2, 12))), 30.0)
    found = choose(data, 5, np.random.default_rng(0)).gain
    assert found is not None
    assert found.value < 0.25
    cut = Labelled(data.vector_ND, data.label_N, np.arange(120), data.text_CD, 30.0)
    found = choose(cut, 5, np.random.default_rng(0)).gain
    assert found is not None
    assert found.value > 0.3


def test_the_gain_and_its_interval_by_hand() -> None:
    """Two classes of two pictures. Adapted: all right; zero-shot: half of each class. Every replicate of pictures
    within each class has a gain of 0, 1/4, 1/2, 3/4 or 1, as often as one, so the interval is symmetric around 1/2."""
    data = labelled(np.array([0, 0, 1, 1]))
    adapted, zero_shot = np.ones((1, 4), bool), np.array([True, False, True, False])
    first, second, gain, spread = compare(adapted, zero_shot, data, 0)
    metric = METRICS[0]
    assert (first[metric].value, second[metric].value, gain[metric].value) == (0.5, 1.0, 0.5)
    assert (gain[metric].low, gain[metric].high) == (0.0, 1.0)  # 1 of 16 replicates at each end, more than 2.5 %
    assert (second[metric].low, second[metric].high) == (1.0, 1.0)
    assert spread == (0.5, 0.5)


def test_seeds_are_averaged_and_their_spread_is_told() -> None:
    data = labelled(np.array([0, 0, 1, 1]))
    correct = np.array([[True, True, True, True], [False, False, True, True]])
    _, adapted, gain, spread = compare(correct, np.zeros(4, bool), data, 0)
    assert adapted[METRICS[0]].value == gain[METRICS[0]].value == 0.75
    assert spread == (0.5, 1.0)


@pytest.mark.slow
def test_more_labels_help_where_prompts_are_wrong() -> None:
    data = labelled(np.tile(np.arange(3), 40), prompts=1.0)
    fold_N, words = outer_folds(data, np.zeros(120, bool), FAST.folds, 0)
    rows = measure(data, fold_N, FAST)
    assert words == "3 outer folds that cut no group"
    assert [row.name for row in rows] == ["1", "4", "all"]
    assert [row.labels for row in rows] == [3, 12, 80]
    assert rows[-1].verdict == "better"
    assert rows[-1].adapted[METRICS[0]].value > rows[0].adapted[METRICS[0]].value
    assert measure(data, fold_N, FAST)[1].gain == rows[1].gain  # the same seed, the same result


def test_imbalance_and_noise_end_in_a_warning() -> None:
    """Nine of ten pictures of one class, prompts that are right: nothing is won, and the sentence says so."""
    label_N = np.array([0] * 90 + [1] * 10)
    data = labelled(label_N, spread=0.5)
    (row,) = measure(data, outer_folds(data, np.zeros(100, bool), 3, 0)[0], replace(FAST, shots=(None,), inner_folds=2))
    assert row.verdict != "better"
    assert verdict(row).startswith("Warning")


def test_an_official_split_is_the_only_fold() -> None:
    data = labelled(np.tile(np.arange(3), 10))
    test_N = np.arange(30) >= 21
    fold_N, words = outer_folds(data, test_N, 5, 0)
    assert (fold_N == 0).tolist() == test_N.tolist()
    assert "official split" in words
    assert measure(data, fold_N, replace(FAST, shots=(1,), seeds=1))[0].tested == 9


def measured(spread: tuple[float, float]) -> Measured:
    values = {metric: Value(0.5, 0.25, 0.75) for metric in METRICS}
    return Measured("all", 12, 40, values, values, values, spread, {"SS-Text": 2, "zero-shot": 1}, 1.0)


def test_a_column_that_says_nothing_is_left_out() -> None:
    """One draw of labels has no spread over seeds."""
    heads, lines = heads_and_lines([measured((0.1, 0.1))])
    assert "seeds" not in heads
    assert [len(line) for line in lines] == [len(heads)]
    heads, lines = heads_and_lines([measured((0.1, 0.1)), measured((0.1, 0.2))])
    assert [line[heads.index("seeds")] for line in lines] == ["", "+10.0 to +20.0"]


def test_the_methods_that_were_chosen_are_explained() -> None:
    assert [line.split(":")[0] for line in methods_in([measured((0, 0))])] == ["zero-shot", "SS-Text"]
