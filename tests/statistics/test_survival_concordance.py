"""C-indices count pairs, under weights as on resamples; scikit-survival, brute force and hand-worked values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sksurv.metrics import concordance_index_censored, concordance_index_ipcw
from survival_world import counts, drawn, once, patients, risks, structured

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival import concordance
from mmkd.statistics.survival.concordance import by_pairs, by_ranks, harrell_c, uno_c
from mmkd.statistics.survival.dominance import sums_before
from mmkd.statistics.survival.kaplan_meier import censoring
from mmkd.statistics.survival.outcomes import Outcomes
from tolerance import assert_rounding


def test_harrell_by_hand() -> None:
    """Pairs of the event at 1 (risk 5): with 2 (5: half), 2c (1), 3c (9: lost). Of the event at 2 (risk 5): the one
    censored at the same time (won) and 3c (lost). 2.5 of 5."""
    outcomes = Outcomes.of(np.array([1, 1, 0, 0]), np.array([1.0, 2.0, 2.0, 3.0]))
    assert harrell_c(np.array([5.0, 5.0, 1.0, 9.0]), outcomes, once(outcomes))[0] == 2.5 / 5


def test_events_at_one_time_are_not_compared() -> None:
    outcomes = Outcomes.of(np.array([1, 1, 0]), np.array([2.0, 2.0, 3.0]))
    assert harrell_c(np.array([1.0, 9.0, 0.0]), outcomes, once(outcomes))[0] == 1.0


def test_uno_by_hand() -> None:
    """G falls at 2 from 1 to 2/3. Anchor 1 counts 1 and wins 2 of 3; anchor 3 counts 9/4 and wins its only pair."""
    outcomes = Outcomes.of(np.array([1, 0, 1, 0]), np.array([1.0, 2.0, 3.0, 4.0]))
    risk_N, curve = np.array([3.0, 4.0, 2.0, 1.0]), censoring(outcomes)
    found = uno_c(risk_N, outcomes, curve, math.inf, once(outcomes))[0]
    assert found == pytest.approx((2 + 9 / 4) / (3 + 9 / 4))
    assert uno_c(risk_N, outcomes, curve, 3.0, once(outcomes))[0] == pytest.approx(2 / 3)


def test_harrell_equals_scikit_survival_on_each_resample() -> None:
    outcomes = patients()
    risk_N, count_BN = risks(outcomes), counts(outcomes)
    expected = [
        concordance_index_censored(outcomes.event_N[i], outcomes.time_N[i], risk_N[i], tied_tol=0)[0]
        for i in drawn(count_BN)
    ]
    np.testing.assert_allclose(harrell_c(risk_N, outcomes, count_BN), expected, atol=1e-12)


@pytest.mark.parametrize("truncation", [4.0, 10.0, 15.5])
def test_uno_equals_scikit_survival_on_each_resample(truncation: float) -> None:
    outcomes, train = patients(), patients(seed=9)
    risk_N, count_BN = risks(outcomes), counts(outcomes)
    found = uno_c(risk_N, outcomes, censoring(train), truncation, count_BN)
    expected = [
        concordance_index_ipcw(structured(train), structured(outcomes.take(i)), risk_N[i], tau=truncation, tied_tol=0)[
            0
        ]
        for i in drawn(count_BN)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_without_censoring_uno_is_harrell() -> None:
    outcomes = Outcomes.of(np.ones(40), patients(40).time_N)
    risk_N, count_BN = risks(outcomes), counts(outcomes)
    uno_B = uno_c(risk_N, outcomes, censoring(outcomes), math.inf, count_BN)
    np.testing.assert_allclose(uno_B, harrell_c(risk_N, outcomes, count_BN), atol=1e-12)


Row = tuple[bool, int, int, int, int]  # event, time, risk, weight, stratum


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3), st.integers(0, 3), st.integers(0, 1)),
        min_size=1,
        max_size=12,
    )
)
def test_harrell_counts_pairs_within_strata(rows: list[Row]) -> None:
    event_N, time_N, risk_N, count_N, stratum_N = (np.array(column) for column in zip(*rows, strict=True))
    outcomes = Outcomes.of(event_N, time_N)
    won = pairs = comparable = 0.0
    for i in range(len(rows)):
        for j in range(len(rows)):
            outlived = time_N[j] > time_N[i] or (time_N[j] == time_N[i] and not event_N[j])
            if event_N[i] and outlived and stratum_N[i] == stratum_N[j]:
                comparable += 1
                pairs += count_N[i] * count_N[j]
                won += count_N[i] * count_N[j] * ((risk_N[i] > risk_N[j]) + 0.5 * (risk_N[i] == risk_N[j]))
    if not comparable:
        with pytest.raises(DataError, match="no comparable pair"):
            harrell_c(risk_N, outcomes, count_N[None], stratum_N)
        return
    found = harrell_c(risk_N, outcomes, count_N[None], stratum_N)[0]
    assert found == pytest.approx(won / pairs) if pairs else math.isnan(found)


POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 5)), max_size=20)


@given(POINTS, st.lists(st.tuples(st.integers(0, 20), st.integers(0, 12)), max_size=6))
def test_sums_over_earlier_points_of_lower_rank(
    points: list[tuple[int, int, int]], asked: list[tuple[int, int]]
) -> None:
    rank_N, *weight_BN = np.array(points, int).reshape(-1, 3).T
    queries = [(min(end, len(points)), rank) for end, rank in asked]
    end_E, rank_E = np.array(queries, int).reshape(-1, 2).T
    lower_BE, equal_BE = sums_before(rank_N, np.array(weight_BN), end_E, rank_E)
    for b, weight_N in enumerate(weight_BN):
        for e, (end, rank) in enumerate(queries):
            assert lower_BE[b, e] == weight_N[:end][rank_N[:end] < rank].sum()
            assert equal_BE[b, e] == weight_N[:end][rank_N[:end] == rank].sum()


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)),
        min_size=1,
        max_size=40,
    ),
    st.booleans(),
)
def test_ranks_count_what_pairs_count(rows: list[Row], weighted: bool) -> None:
    event_N, time_N, risk_N, count_N, stratum_N = (np.array(column) for column in zip(*rows, strict=True))
    outcomes = Outcomes.of(event_N, time_N)
    anchor_N = outcomes.event_N * (1.0 + weighted * time_N / 3)
    weight_BN = np.stack([count_N, np.ones(len(rows)), count_N * 0.3]).astype(float)
    given_rows = risk_N.astype(float), outcomes, anchor_N, weight_BN, stratum_N
    of_pairs, of_ranks = by_pairs(*given_rows), by_ranks(*given_rows)
    assert of_pairs[2] == of_ranks[2]
    np.testing.assert_allclose(of_ranks[0], of_pairs[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(of_ranks[1], of_pairs[1], rtol=1e-12, atol=1e-12)
    if not weighted:
        np.testing.assert_array_equal(np.stack(of_ranks[:2])[:, :2], np.stack(of_pairs[:2])[:, :2])


def test_many_patients_are_ranked_and_equal_scikit_survival(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = patients(2_000)
    risk_N = risks(outcomes).round(1)
    monkeypatch.setattr(concordance, "by_pairs", None)  # would fail if it were called
    expected = concordance_index_censored(outcomes.event_N, outcomes.time_N, risk_N, tied_tol=0)[0]
    assert harrell_c(risk_N, outcomes, once(outcomes))[0] == pytest.approx(expected, abs=1e-12)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = patients()
    risk_N, count_BN = risks(outcomes), counts(outcomes)
    whole = harrell_c(risk_N, outcomes, count_BN)
    monkeypatch.setattr(concordance, "BLOCK_CELLS", 200)
    monkeypatch.setattr(concordance, "SORTED_CELLS", 2 * len(outcomes))
    assert_rounding(harrell_c(risk_N, outcomes, count_BN), whole)
    given = risk_N, outcomes, outcomes.event_N.astype(float), count_BN, np.zeros(len(outcomes), int)
    for method in (by_pairs, by_ranks):
        won_B, pairs_B, _ = method(*given)
        assert_rounding(won_B / pairs_B, whole)


def test_only_the_order_of_risks_counts_and_its_reverse_is_the_complement() -> None:
    outcomes = patients()
    risk_N, count_BN = risks(outcomes), counts(outcomes)
    plain = harrell_c(risk_N, outcomes, count_BN)
    np.testing.assert_array_equal(harrell_c(np.exp(risk_N), outcomes, count_BN), plain)
    np.testing.assert_allclose(harrell_c(-risk_N, outcomes, count_BN), 1 - plain, atol=1e-12)
    np.testing.assert_array_equal(harrell_c(0 * risk_N, outcomes, count_BN), np.full(len(count_BN), 0.5))


def test_fractional_weights_scale_out() -> None:
    outcomes = patients()
    risk_N, count_BN = risks(outcomes), counts(outcomes)
    np.testing.assert_allclose(
        harrell_c(risk_N, outcomes, count_BN / 7), harrell_c(risk_N, outcomes, count_BN), atol=1e-12
    )


def test_strata_keep_the_scales_of_folds_apart() -> None:
    """Perfect within each fold, reversed between them."""
    outcomes = Outcomes.of(np.ones(4), np.array([1.0, 2.0, 3.0, 4.0]))
    risk_N, fold_N = np.array([2.0, 1.0, 9.0, 8.0]), np.array([0, 0, 1, 1])
    assert harrell_c(risk_N, outcomes, once(outcomes), fold_N)[0] == 1.0
    assert harrell_c(risk_N, outcomes, once(outcomes))[0] == pytest.approx(2 / 6)


def test_a_resample_without_a_comparable_pair_is_nan_and_the_others_are_not() -> None:
    outcomes = Outcomes.of(np.array([1, 0]), np.array([1.0, 2.0]))
    count_BN = np.array([[1, 1], [2, 0], [0, 2], [0, 0]])
    np.testing.assert_array_equal(harrell_c(np.array([2.0, 1.0]), outcomes, count_BN), [1, np.nan, np.nan, np.nan])


@pytest.mark.parametrize(
    ("event", "time"), [([0, 0, 0], [1, 2, 3]), ([1, 1, 1], [2, 2, 2]), ([1], [1]), ([0, 0, 1], [1, 2, 3])]
)
def test_data_without_a_comparable_pair_are_an_error(event: list[int], time: list[int]) -> None:
    outcomes = Outcomes.of(np.array(event), np.array(time))
    with pytest.raises(DataError, match=f"no comparable pair: {len(time)} patients, {sum(event)} events"):
        harrell_c(np.arange(float(len(time))), outcomes, once(outcomes))


def test_truncation_before_every_event_is_an_error() -> None:
    outcomes = patients()
    with pytest.raises(DataError, match="0 of them counted"):
        uno_c(risks(outcomes), outcomes, censoring(outcomes), 0.5, once(outcomes))
    with pytest.raises(ValueError, match="truncation_time is nan"):
        uno_c(risks(outcomes), outcomes, censoring(outcomes), math.nan, once(outcomes))


def test_uno_beyond_the_training_follow_up_is_an_error_unless_truncated() -> None:
    outcomes, train = patients(), Outcomes.of(np.array([1, 0]), np.array([1.0, 9.0]))
    with pytest.raises(DataError, match="censoring is not known at time 9"):
        uno_c(risks(outcomes), outcomes, censoring(train), math.inf, once(outcomes))
    assert 0 < uno_c(risks(outcomes), outcomes, censoring(train), 9.0, once(outcomes))[0] < 1


@pytest.mark.parametrize(
    ("risk_N", "count_BN", "error", "words"),
    [
        (np.array([1.0, np.nan]), np.ones((1, 2)), DataError, "risk: row 1 is nan"),
        (np.ones(3), np.ones((1, 2)), ValueError, r"risk has shape \(3,\)"),
        (np.ones(2), np.ones((1, 3)), ValueError, r"\(1, 3\)"),
        (np.ones(2), -np.ones((1, 2)), ValueError, "negative"),
    ],
)
def test_bad_input_is_named(risk_N: Array, count_BN: Array, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        harrell_c(risk_N, Outcomes.of(np.array([1, 0]), np.array([1.0, 2.0])), count_BN)


def test_strata_must_be_given_for_everybody() -> None:
    outcomes = patients()
    with pytest.raises(ValueError, match=r"strata have shape \(2,\)"):
        harrell_c(risks(outcomes), outcomes, once(outcomes), np.zeros(2))
