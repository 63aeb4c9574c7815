"""Arrays that are worked out once: every process reads them from their file, and other inputs make them anew."""

from pathlib import Path

import numpy as np
import pytest

from mmkd.distributed import ALONE, World
from mmkd.training.targets.stored import RANKS, stored, stored_done


class Made:
    """Counts how often it is called."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> np.ndarray:
        self.times += 1
        return np.arange(6, dtype=np.float32).reshape(3, 2) + self.times


def test_an_array_is_made_once_and_mapped_by_every_process(tmp_path: Path) -> None:
    make = Made()
    first = stored(tmp_path, "gate", {"seed": 1, "features": ("a", "b")}, make, ALONE)
    again = stored(tmp_path, "gate", {"seed": 1, "features": ("a", "b")}, make, ALONE)
    other_rank = stored(tmp_path, "gate", {}, make, World(rank=1))
    assert make.times == 1
    for found in (first, again, other_rank):
        assert isinstance(found, np.memmap)
        assert found.tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("changed", [{"seed": 2}, {"seed": 1, "rivals": 3}, {}])
def test_other_inputs_make_it_anew(changed: dict[str, int], tmp_path: Path) -> None:
    make = Made()
    stored(tmp_path, "gate", {"seed": 1}, make, ALONE)
    assert stored(tmp_path, "gate", changed, make, ALONE)[0, 0] == 2
    assert stored(tmp_path, "posterior", changed, make, ALONE)[0, 0] == 3


def test_a_kill_while_it_is_made_leaves_none_that_counts(tmp_path: Path) -> None:
    def killed() -> np.ndarray:
        raise KeyboardInterrupt

    make = Made()
    stored(tmp_path, "gate", {"seed": 1}, make, ALONE)
    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path, "gate", {"seed": 2}, killed, ALONE)
    assert stored(tmp_path, "gate", {"seed": 1}, make, ALONE)[0, 0] == 2
    (tmp_path / RANKS / "gate.json").write_text("{")
    assert stored(tmp_path, "gate", {"seed": 1}, make, ALONE)[0, 0] == 3


def test_a_finished_training_takes_them_away(tmp_path: Path) -> None:
    stored(tmp_path, "gate", {}, Made(), ALONE)
    stored_done(tmp_path)
    stored_done(tmp_path)
    assert list(tmp_path.iterdir()) == []
