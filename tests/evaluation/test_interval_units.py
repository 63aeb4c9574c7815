"""Replicates of the bootstrap by workers: the results of one process, to the bit."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mmkd.evaluation.summary import hand_out
from mmkd.evaluation.summary.scores import Resampling
from mmkd.evaluation.summary.summary import Summary, results_from_predictions
from mmkd.executors.executor import Executor
from mmkd.executors.local import LocalExecutor
from mmkd.executors.resident import release
from mmkd.executors.unit import ONE, Function, Outcome, Resources, Unit
from mmkd.statistics import bootstrap
from mmkd.statistics.bootstrap import plan_draws
from predicted_world import QUICK, predicted

LEAKED = {"set": ("3", "4", "50"), "other": ()}


def leaked(found: dict[str, Sequence[str]], dataset: str) -> Sequence[str]:
    return found.get(dataset, ())


class Backwards:
    """An executor that does the units here, the last one first. done: their labels."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def map(
        self, units: Sequence[Unit], function: Function, folder: Path, resources: Resources = ONE
    ) -> Iterator[Outcome]:
        for unit in reversed([unit for unit in units if not unit.is_done]):
            function(unit.payload)
            assert unit.is_done
            self.done.append(unit.label)
            yield Outcome(unit)
        release()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models on two data sets, one of them with subgroups of unequal size, one of which has a single class."""
    draw = np.random.default_rng(0)
    sex = ["f"] * 55 + ["m"] * 25
    site = ["even", "odd"] * 40  # classes alternate
    for model, share in (("student", 0.7), ("teacher", 0.5)):
        predicted(tmp_path, model, "set", (draw.random(80) < share).tolist(), facts={"sex": sex, "site": site})
        predicted(tmp_path, model, "other", (draw.random(60) < share).tolist(), group=["a", "b", "c"] * 20)
    return tmp_path


@pytest.fixture
def pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_out, "SHORTEST", 1)
    monkeypatch.setattr(hand_out, "LEAST", 1)


def results(folder: Path, executor: Executor | None, resampling: Resampling = QUICK) -> Summary:
    found = partial(leaked, LEAKED)
    return results_from_predictions(folder, ["teacher"], resampling, leaked=found, executor=executor)


def test_blocks_put_together_are_all_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "BLOCK_CELLS", 400)
    draws = plan_draws([""] * 40, np.arange(40) % 3, 95, (1,))
    assert draws.rows == 10
    weight_40 = np.random.default_rng(0).random(40)
    whole = bootstrap.replicate(lambda count_RN: {"sum": count_RN @ weight_40}, draws)["sum"]
    parts = [
        bootstrap.replicate(lambda count_RN: {"sum": count_RN @ weight_40}, draws, slice(*part))["sum"]
        for part in ((0, 1), (1, 7), (7, 10))
    ]
    assert [len(part) for part in parts] == [10, 60, 25]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_pieces_cover_all_blocks_and_count_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "BLOCK_CELLS", 400)
    draws = plan_draws([""] * 40, None, 95, (1,))
    for shortest, expected in (
        (1, [(first, first + 1, 2 * 40 * 10) for first in range(9)] + [(9, 10, 2 * 40 * 5)]),
        (2400, [(0, 3, 2400), (3, 6, 2400), (6, 9, 2400), (9, 10, 400)]),
        (2 * 40 * 95 + 1, []),
    ):
        monkeypatch.setattr(hand_out, "SHORTEST", shortest)
        assert hand_out.pieces(draws, 2) == expected


@pytest.mark.usefixtures("pays")
def test_units_in_any_order_give_the_results_of_one_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "BLOCK_CELLS", 6000)
    executor = Backwards()
    assert results(folder, executor) == results(folder, None)
    assert {label.partition(",")[0] for label in executor.done} == {
        f"intervals of zero_shot/{name}"
        for name in ("other", "set", "set/sex=f", "set/sex=m", "set/site=even", "set/site=odd", "set/clean")
    }
    assert sum("zero_shot/set," in label for label in executor.done) == 4  # of 75 replicates
    assert not (folder / hand_out.FOLDER).exists()


@pytest.mark.usefixtures("pays")
def test_sets_with_few_groups_are_left_out_alike(folder: Path) -> None:
    """`other` has three groups."""
    asked = replace(QUICK, least_groups=4)
    found = results(folder, Backwards(), asked)
    assert found == results(folder, None, asked)
    assert {row.dataset for row in found.results if not row.is_counted} == {"other"}
    assert len(found.notices) == 1


@pytest.mark.usefixtures("pays")
def test_what_a_call_has_left_that_was_cut_off_is_used_unless_predictions_have_changed(folder: Path) -> None:
    class Stopping(Backwards):
        def map(self, *given: object, **named: object) -> Iterator[Outcome]:
            for number, outcome in enumerate(super().map(*given, **named)):  # type: ignore[arg-type]
                if number == 2:
                    raise KeyboardInterrupt
                yield outcome

    with pytest.raises(KeyboardInterrupt):
        results(folder, Stopping())
    release()
    left = set((folder / hand_out.FOLDER).iterdir())
    assert len(left) == 3
    again = Backwards()
    expected = results(folder, None)
    assert not (folder / hand_out.FOLDER).exists()  # without workers it is of no use
    with pytest.raises(KeyboardInterrupt):
        results(folder, Stopping())
    release()
    assert results(folder, again) == expected
    assert len(again.done) == 7 - 3
    with pytest.raises(KeyboardInterrupt):
        results(folder, Stopping())
    release()
    predicted(folder, "teacher", "set", [True] * 80, facts={"sex": ["f"] * 80, "site": ["x"] * 80})
    predicted(folder, "student", "set", [True, False] * 40, facts={"sex": ["f"] * 80, "site": ["x"] * 80})
    changed = Backwards()
    assert results(folder, changed) == results(folder, None)
    assert any("zero_shot/set," in label for label in changed.done)


def test_short_work_is_not_handed_out(folder: Path) -> None:
    executor = Backwards()
    assert results(folder, executor) == results(folder, None)
    assert executor.done == []
    assert not (folder / hand_out.FOLDER).exists()


@pytest.mark.slow  # workers import torch
@pytest.mark.usefixtures("pays")
def test_two_processes_give_the_results_of_one(folder: Path) -> None:
    assert results(folder, LocalExecutor(2)) == results(folder, None)
    assert not (folder / hand_out.FOLDER).exists()
    assert not (folder.parent / ".units").exists()
