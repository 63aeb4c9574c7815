"""Mean ranks and firsts over settings: by hand, against SciPy, and their laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from mmkd.statistics.overall_ranks import overall_ranks, ranks

HAND = np.array([[0.9, 0.5, 0.5], [0.7, 0.7, 0.1], [0.2, 0.3, 0.3], [0.6, 0.5, 0.4]])


def fixed(score_SQ: np.ndarray, size: int = 200) -> list[np.ndarray]:
    """Replicates that all equal the scores."""
    return [np.tile(row, (size, 1)) for row in score_SQ]


def test_by_hand() -> None:
    # places: 1 2.5 2.5 | 1.5 1.5 3 | 3 1.5 1.5 | 1 2 3; firsts: 1 0 0 | .5 .5 0 | 0 .5 .5 | 1 0 0
    found = overall_ranks(HAND, fixed(HAND), ["a", "a", "b", "c"], (0,))
    np.testing.assert_allclose(found.mean_rank_Q, [6.5 / 4, 7.5 / 4, 10 / 4])
    np.testing.assert_allclose(found.first_Q, [2.5, 1.0, 0.5])
    assert found.draws == "data sets and their samples"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=4), min_size=1, max_size=6))
def test_places_are_those_of_scipy_and_firsts_sum_to_the_settings(drawn: list[list[int]]) -> None:
    score_SQ = np.array(drawn, float)
    place_SQ, first_SQ = ranks(score_SQ)
    np.testing.assert_array_equal(place_SQ, np.stack([rankdata([-one for one in row]) for row in drawn]))
    np.testing.assert_allclose(first_SQ.sum(axis=1), 1)
    found = overall_ranks(score_SQ, fixed(score_SQ, 20), [str(s) for s in range(len(drawn))], (1,))
    for replicated, total in ((found.mean_rank_BQ, 10.0), (found.first_BQ, float(len(drawn)))):
        np.testing.assert_allclose(replicated.sum(axis=1), total)


def test_replicates_draw_data_sets_whole() -> None:
    """Two settings of one set and one each of two others: every replicate is a mean over drawn sets."""
    found = overall_ranks(HAND[:, :2], fixed(HAND[:, :2]), ["a", "a", "b", "c"], (3,))
    possible = set()
    place_S, weight_S = np.array([1.0, 1.5, 2.0, 1.0]), ["a", "a", "b", "c"]
    for count in [(i, j, 3 - i - j) for i in range(4) for j in range(4 - i)]:
        times = np.array([count["abc".index(name)] for name in weight_S])
        possible.add(round(float((place_S * times).sum() / times.sum()), 9))
    assert {round(value, 9) for value in found.mean_rank_BQ[:, 0].tolist()} <= possible
    assert found.mean_rank_BQ[:, 0].std() > 0


def test_a_family_is_drawn_as_one_and_two_sets_are_not_drawn() -> None:
    for names, family in ((["a", "b"], ["", ""]), (["a", "b", "c"], ["f", "f", ""])):
        score_SQ = HAND[: len(names)]
        found = overall_ranks(score_SQ, fixed(score_SQ), names, (0,), family)
        assert found.draws == "the samples of each data set"
        np.testing.assert_allclose(found.mean_rank_BQ, np.tile(found.mean_rank_Q, (200, 1)))


def test_sampling_error_enters_and_undefined_replicates_do_not() -> None:
    rng = np.random.default_rng(0)
    score_SQ = np.tile([0.5, 0.5], (4, 1))
    replicates = [score_SQ[0] + 0.1 * rng.normal(size=(500, 2)) for _ in range(4)]
    replicates[0][::2, 1] = np.nan
    replicates[1][:] = np.nan
    found = overall_ranks(score_SQ, replicates, list("abcd"), (0,))
    assert np.isfinite(found.mean_rank_BQ).all()
    assert found.mean_rank_Q.tolist() == [1.5, 1.5]
    assert found.mean_rank_BQ[:, 0].mean() == pytest.approx(1.5, abs=0.05)
    assert found.mean_rank_BQ[:, 0].std() > 0.1


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected two models or more"):
        overall_ranks(HAND[:, :1], fixed(HAND[:, :1]), list("abcd"), (0,))
