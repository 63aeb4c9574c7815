"""The tables of `bench/peers.py` and `bench/gpu.py`: what is measured, and what a row says."""

import time

import numpy as np
import pytest
from gpu import FIGURES, Figure
from peers import beside, line
from peers_cases import COMPARISONS, Comparison, Sides, concordance, near_hashes

MIB = 2**20


def spin(seconds: float) -> float:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return seconds


def test_the_side_that_computes_less_has_a_ratio_below_1() -> None:
    found = beside(Sides(lambda: spin(0.02), lambda: spin(0.08), "made up", lambda a, b: abs(a - b)), 3)
    assert found["ratio"] == pytest.approx(0.25, rel=0.2)
    assert found["difference"] == pytest.approx(0.06)
    assert found["seconds"]["theirs"] == pytest.approx(0.08, rel=0.2)


def test_memory_is_counted_over_what_was_there_before() -> None:
    kept = np.ones(64 * MIB, np.uint8)
    found = beside(Sides(lambda: int(np.ones(96 * MIB, np.uint8)[0]), lambda: int(kept[0]), "made up"), 1)
    assert found["peak_mb"]["ours"] == pytest.approx(96, abs=8)
    assert found["peak_mb"]["theirs"] < 8


def test_a_row_says_why_mmkd_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Comparison("work", "peer", "json", lambda _: pytest.fail("nothing is run"), "it does more")
    monkeypatch.setitem(COMPARISONS, "made", made)
    row = {"given": "small", "ratio": 1.5, "least": 1.4, "largest": 1.6, "seconds": {"ours": 0.1, "theirs": 0.07}}
    row |= {"peak_mb": {"ours": 3.0, "theirs": 2.0}, "difference": float("nan")}
    assert line("made", row) == "| work | small | peer | 1.50 (1.40 to 1.60) | 0.100 | 3, 2 | – | it does more |"
    assert line("made", row | {"ratio": 0.9}).endswith("| – |  |")
    assert "not installed (`gone`)" in line("made", {"missing": "gone"})
    assert "failed: no memory" in line("made", {"failed": "no memory"})


def test_a_peer_that_is_not_installed_is_missing() -> None:
    assert Comparison("work", "peer", "no_such_module", lambda _: pytest.fail("nothing is run")).missing
    assert not Comparison("work", "peer", "json", lambda _: pytest.fail("nothing is run")).missing


@pytest.mark.parametrize(("make", "module"), [(near_hashes, "faiss"), (concordance, "sksurv")])
def test_both_sides_give_one_answer(make: object, module: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip(module)
    sides = make(tmp_path_factory.mktemp("sides"))  # type: ignore[operator]
    assert sides.difference(sides.ours(), sides.theirs()) == 0.0


def test_figures_of_a_gpu_are_judged_by_their_aims() -> None:
    results = {"train": {"arms": {"default": {"pairs_per_s": 2400.0, "mfu": 0.31}}}, "extract": None}
    lines = {figure.what: figure.line(results) for figure in FIGURES}
    assert lines["training, pairs/s"] == "| training, pairs/s | 2,300 | 2,400 | reached |"
    assert lines["training, share of the bf16 peak (MFU)"].endswith("| 0.4 | 0.31 | missed |")
    assert lines["the loop's time over extraction's"].endswith("| 1 | – | not measured |")
    assert Figure("x", "extract", ("arms",)).line(results) == "| x | – | – |  |"
