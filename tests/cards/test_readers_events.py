"""Event columns: one cohort in all spellings of an event, and each thing that must not be guessed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reader_cards import card, write_table
from sksurv.metrics import concordance_index_censored

from mmkd.cards.readers.read import read_samples
from mmkd.cards.samples import Sample
from mmkd.errors import DataError

PATIENTS, EVENTS = 120, 46
RNG = np.random.default_rng(7)
EVENT_N = RNG.permutation(np.arange(PATIENTS) < EVENTS)
AGE_N = RNG.normal(60, 9, PATIENTS).round(1)
TIME_N = np.maximum(1, np.round(90 - AGE_N + RNG.normal(0, 9, PATIENTS)))


def read(folder: Path, events: list[Any], suffix: str = ".csv", column: str = "event", **layout: Any) -> list[Sample]:
    rows = [
        {"time": time, column: event, "age": age}
        for time, event, age in zip(TIME_N.tolist(), events, AGE_N.tolist(), strict=False)
    ]
    path = write_table(folder / f"cohort{suffix}", rows)
    named = {"columns": {"event": column}} if column != "event" else {}
    opened = card({"reader": "table", "path": path, **named, **layout}, tasks=["survival"], covariates={"age": ["age"]})
    return read_samples(opened)


def spelt(event: Any, censored: Any) -> list[Any]:
    return [event if happened else censored for happened in EVENT_N.tolist()]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".parquet"])
@pytest.mark.parametrize(
    ("event", "censored", "layout"),
    [
        (1, 0, {}),
        (1.0, 0.0, {}),
        ("1", "0", {"censored": "0"}),
        (True, False, {}),
        ("TRUE", "FALSE", {}),
        ("yes", "No", {}),
        ("1:DECEASED", "0:LIVING", {}),
        ("1:Recurred/Progressed", "0:DiseaseFree", {}),
        ("Dead", "Alive", {}),
        ("DECEASED", "LIVING", {}),
        (2, 1, {"event": ["2"], "censored": ["1"]}),
        (2.0, 1.0, {"event": "2", "censored": "1"}),
        (0, 1, {"event": ["0"], "censored": ["1"]}),
        (0, 1, {"censored": "1"}),
        (False, True, {"censored": "True"}),
        ("gone", "seen", {"event": ["gone"], "censored": ["seen"]}),
    ],
)
def test_one_cohort_in_all_spellings(suffix: str, event: Any, censored: Any, layout: Any, tmp_path: Path) -> None:
    samples = read(tmp_path, spelt(event, censored), suffix, **layout)
    outcomes = [sample.survival for sample in samples if sample.survival is not None]
    event_N = np.array([one.event for one in outcomes])
    np.testing.assert_array_equal(event_N, EVENT_N)
    assert event_N.sum() == EVENTS
    age_N, time_N = np.array([one.covariates["age"] for one in samples]), np.array([one.time for one in outcomes])
    expected = concordance_index_censored(EVENT_N, TIME_N, AGE_N)[0]
    assert concordance_index_censored(event_N, time_N, age_N)[0] == expected
    assert expected != concordance_index_censored(np.ones(PATIENTS, bool), TIME_N, AGE_N)[0]


@pytest.mark.parametrize(
    ("events", "layout", "told"),
    [
        (spelt(2, 1), {}, r"column 'event' of events holds '1' 74 times, '2' 46 times; '2' has no known meaning"),
        (spelt("NA", "0"), {}, r"'0' 74 times, 'NA' 46 times; 'NA' has no known meaning; declare .*event = \[\.\.\.\]"),
        (["1", *spelt("1", "0")[1:-1], "Lost"], {"event": "1", "censored": "0"}, r"'Lost' 1 times; 'Lost' has no"),
        (spelt("gone", "seen"), {"event": "gone"}, r"'seen' has no known meaning; .*the layout has event = \['gone'\]"),
        (spelt("Dead", "1"), {"censored": "1"}, r"'Dead' has no known meaning"),
        (spelt("0:DECEASED", "1:LIVING"), {}, r"'1:LIVING', '0:DECEASED' has no known meaning"),
        (spelt(1, 1), {}, r"holds '1' 120 times; by that everybody has the event"),
        (spelt("Alive", "Living"), {}, r"'Living' 74 times, 'Alive' 46 times; by that nobody has the event"),
        (spelt(1, 0), {"event": "1", "censored": ["0", "1.0"]}, r"declares '1' as event and as censored"),
    ],
)
def test_what_is_not_certain_is_refused_with_the_values_and_their_counts(
    events: list[Any], layout: Any, told: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=told):
        read(tmp_path, events, **layout)


@pytest.mark.parametrize("column", ["censorship", "Censored", "cens", "is_alive", "survived"])
def test_a_column_of_the_opposite_is_asked_about(column: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"column '{column}' .*the name does not say which of them is the event"):
        read(tmp_path, spelt(0, 1), column=column)
    samples = read(tmp_path, spelt(0, 1), column=column, event="0", censored="1")
    assert sum(sample.survival is not None and sample.survival.event for sample in samples) == EVENTS


@pytest.mark.parametrize("column", ["status", "death", "survival_event", "OS_STATUS"])
def test_other_names_of_a_column_of_events_are_not(column: str, tmp_path: Path) -> None:
    samples = read(tmp_path, spelt(1, 0), column=column)
    assert sum(sample.survival is not None and sample.survival.event for sample in samples) == EVENTS


def test_words_say_what_they_mean_below_any_name(tmp_path: Path) -> None:
    samples = read(tmp_path, spelt("Dead", "Alive"), column="survival_status")
    assert sum(sample.survival is not None and sample.survival.event for sample in samples) == EVENTS


def test_a_column_called_event_means_nothing_to_other_tasks(tmp_path: Path) -> None:
    rows = [{"time": "day", "event": "fall", "caption": "one"}, {"time": "", "event": "burn", "caption": "two"}]
    opened = card({"reader": "table", "path": write_table(tmp_path / "t.csv", rows)}, tasks=["retrieval"])
    assert [(sample.caption, sample.survival) for sample in read_samples(opened)] == [("one", None), ("two", None)]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["0", "1", "1.0", "True", "Alive", "1:DECEASED", "2", "NA", "", "-1", "x"]), min_size=2)
)
def test_any_column_is_read_right_or_refused(tmp_path_factory: pytest.TempPathFactory, events: list[str]) -> None:
    happened = {"0": False, "Alive": False, "1": True, "1.0": True, "True": True, "1:DECEASED": True}
    certain = set(events) <= set(happened) and len({happened[value] for value in events}) == 2
    folder = tmp_path_factory.mktemp("any")
    if not certain:
        with pytest.raises(DataError, match="column 'event'"):
            read(folder, events)
        return
    found = [sample.survival.event for sample in read(folder, events) if sample.survival]
    assert found == [happened[value] for value in events]
