"""Damaged files through every parser of the table: they are read, or refused for a reason; see `bench/fuzz.py`."""

import time
from pathlib import Path
from random import Random

import pytest
from fuzz_mutations import mutated
from fuzz_parsers import ACCEPTED, PARSERS, random_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SEED, INPUTS = 0, 8  # of a parser
LIMIT_S = 5  # of processor time

pytestmark = pytest.mark.filterwarnings("ignore")  # of odd metadata; in these tests alone they would be errors


@pytest.fixture(params=PARSERS)
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MMKD_CACHE", str(tmp_path / "cache"))
    return str(request.param)


def test_sound_files_are_read(name: str, tmp_path: Path) -> None:
    parser = PARSERS[name]
    outcomes = [parser.outcome(tmp_path / str(n), parser.mended(data)) for n, data in enumerate(parser.seeds())]
    assert outcomes.count(ACCEPTED) > len(outcomes) / 2, outcomes


def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    parser = PARSERS[name]
    sound = parser.seeds()
    parser.outcome(tmp_path / "sound", parser.mended(sound[0]))  # libraries are imported
    for number in range(INPUTS):
        start = time.process_time()
        assert parser.outcome(tmp_path / str(number), parser.damaged(random_of(SEED, name, number), sound))
        assert time.process_time() - start < LIMIT_S


SOUND = {name: parser.seeds() for name, parser in PARSERS.items()}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_in_any_place(tmp_path: Path, data: st.DataObject) -> None:
    """hypothesis looks for the smallest change that a parser fails on."""
    name = data.draw(st.sampled_from(sorted(PARSERS)))
    sound = data.draw(st.sampled_from(SOUND[name]))
    begin = data.draw(st.integers(0, len(sound)))
    end = data.draw(st.integers(begin, min(len(sound), begin + 64)))
    changed = sound[:begin] + data.draw(st.binary(max_size=32)) + sound[end:]
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    assert PARSERS[name].outcome(folder, PARSERS[name].mended(changed))


def test_an_input_can_be_made_again() -> None:
    sound = [b"abc" * 100, b"12345"]
    assert [mutated(Random(f"{n}"), sound) for n in range(50)] == [mutated(Random(f"{n}"), sound) for n in range(50)]
    assert len({mutated(random_of(0, "a", n), sound) for n in range(50)}) > 40
