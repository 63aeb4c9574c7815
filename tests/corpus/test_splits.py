import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from mmkd.corpus.schema import split_of

GROUPS = [f"patient {number}" for number in range(20_000)]


def test_the_share_of_groups_is_the_one_asked_for() -> None:
    found = sum(split_of(group, 0.05, seed=1) == "val" for group in GROUPS) / len(GROUPS)
    assert abs(found - 0.05) < 4 * (0.05 * 0.95 / len(GROUPS)) ** 0.5


@given(st.text(), st.integers(0, 2**31))
def test_no_share_means_no_validation_and_nearly_one_means_all(group: str, seed: int) -> None:
    assert split_of(group, 0.0, seed) == "train"
    assert split_of(group, 1.0, seed) == "val"


@given(st.text(), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**31))
def test_a_larger_share_only_adds_groups(group: str, one: float, other: float, seed: int) -> None:
    less, more = sorted((one, other))
    assert split_of(group, less, seed) == "train" or split_of(group, more, seed) == "val"


def test_seeds_draw_independent_splits() -> None:
    both = sum(split_of(g, 0.5, seed=1) == split_of(g, 0.5, seed=2) for g in GROUPS) / len(GROUPS)
    assert abs(both - 0.5) < 0.02


def test_another_process_decides_the_same() -> None:
    code = "from mmkd.corpus.schema import split_of; print([split_of(f'patient {n}', 0.3, 7) for n in range(20)])"
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert elsewhere.strip() == str([split_of(group, 0.3, 7) for group in GROUPS[:20]])
