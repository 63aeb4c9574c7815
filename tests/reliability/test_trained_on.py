"""Pairs that a teacher was trained on: the lists, what leaves them out, and the gap."""

from pathlib import Path

import numpy as np
import pytest

from feature_world import DIM, FeatureWorld, make_feature_world, write_features
from mmkd.errors import ConfigError
from mmkd.folders.stage import Stage, complete
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stack_stage import FEWEST, unseen
from mmkd.reliability.stage import measure_reliability
from mmkd.reliability.table import ReliabilityTable, load_reliability
from mmkd.reliability.trained_lists import list_digests
from mmkd.reliability.trained_on import gap_of, trained_on
from stack_world import unit

COUNT, SEEN = 600, 200
NAMES = ["honest", "memory"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FeatureWorld:
    """Teacher `memory` has learned the first pairs by heart and knows nothing else."""
    folder = tmp_path_factory.mktemp("world")
    made = make_feature_world(folder, {"honest": {"bone": "right"}}, {"bone": COUNT}, labelled=True)
    rng = np.random.default_rng(0)
    image, text = (unit(rng.normal(size=(COUNT, DIM))) for _ in range(2))
    text[:SEEN] = image[:SEEN]
    write_features(folder / "features" / "memory", made.corpus, {"image": image, "text": text})
    (folder / "list.txt").write_text("# its training pairs\n" + "\n".join(f"pair {row}" for row in range(SEEN)) + "\n")
    return made


def measured(world: FeatureWorld, out: Path, method: str, files: dict[str, Path]) -> ReliabilityTable:
    settings = ReliabilitySettings.model_validate({"method": method, "bootstrap": 20, "trained_on": files})
    corpus, features = world.folder / "corpus", world.folder / "features"
    stage = Stage("reliability", out, {})
    complete(stage, lambda partial: measure_reliability(settings, corpus, features, NAMES, partial, 0))
    return load_reliability(out)


@pytest.mark.parametrize("method", ["rank", "stacking"])
def test_memory_earns_no_weight_where_its_pairs_are_known(
    method: str, world: FeatureWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bone = np.array(["bone"])
    flattered = measured(world, tmp_path / "without", method, {})
    assert flattered.weights(bone)[0, 1] > 0
    assert "trained on" not in capsys.readouterr().out
    judged = measured(world, tmp_path / "with", method, {"memory": world.folder / "list.txt"})
    assert judged.weights(bone)[0, 1] < 0.02
    assert judged.weights(bone)[0, 0] == 1.0
    said = " ".join(capsys.readouterr().out.split())
    assert "memory on bone: percentile of own captions +0." in said
    assert "it remembers them" in said
    assert "honest on bone: percentile" not in said  # it was trained on none of them


def test_all_pairs_of_a_patient_count(world: FeatureWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = world.corpus
    column = type(corpus).column
    patients = [f"patient {row // 10}" for row in range(COUNT)]
    monkeypatch.setattr(type(corpus), "column", lambda self, name: patients if name == "group" else column(self, name))
    (tmp_path / "list.txt").write_text("pair 15\npatient 3\n")
    found = trained_on({"memory": tmp_path / "list.txt"}, corpus, NAMES)
    assert np.flatnonzero(found[:, 1]).tolist() == [*range(10, 20), *range(30, 40)]
    assert not found[:, 0].any()


def test_the_gap_by_hand_and_none_where_a_side_is_small() -> None:
    rng = np.random.default_rng(1)
    image, text = (unit(rng.normal(size=(200, 16))) for _ in range(2))
    text[:80] = image[:80]
    seen_N = np.arange(200) < 80
    gap = gap_of("ct", "a", (image, text), seen_N, np.arange(200), 64, np.random.default_rng(0))
    assert gap is not None
    assert gap.value == pytest.approx(0.5, abs=0.06)  # own captions first against own captions anywhere
    assert 0.3 < gap.low < gap.value < gap.high < 0.7
    few = np.arange(200) < 10
    assert gap_of("ct", "a", (image, text), few, np.arange(200), 64, np.random.default_rng(0)) is None
    one = np.where(seen_N, 0, np.arange(200))  # one patient on a side: no interval
    assert gap_of("ct", "a", (image, text), seen_N, one, 64, np.random.default_rng(0)) is None


def test_without_enough_other_pairs_all_are_fitted_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    rows, seen_NT = np.arange(150), np.zeros((150, 2), dtype=bool)
    assert unseen("ct", rows, None) is rows
    seen_NT[:50, 0] = True
    assert unseen("ct", rows, seen_NT).tolist() == list(range(50, 150))
    assert len(rows) - 50 == FEWEST
    seen_NT[50:60, 1] = True
    assert unseen("ct", rows, seen_NT) is rows
    said = capsys.readouterr()
    assert "ct: no teacher was trained on only 90 of 150 pairs" in " ".join((said.out + said.err).split())


def test_lists_that_say_nothing_are_refused(world: FeatureWorld, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("nothing of this corpus\n")
    with pytest.raises(ConfigError, match="none of the 1 lines"):
        trained_on({"memory": other}, world.corpus, NAMES)
    with pytest.raises(ConfigError, match="no teacher 'memor'"):
        trained_on({"memor": other}, world.corpus, NAMES)
    with pytest.raises(ConfigError, match="is not to be read as text"):
        trained_on({"memory": tmp_path / "absent.txt"}, world.corpus, NAMES)


def test_stages_compare_what_lists_say_and_recipes_without_one_stay_as_they_were(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("a\nb\n")
    two.write_text("# other order\nb\n\na\n")
    assert list_digests({"t": one}) == list_digests({"t": two})
    assert "trained_on" not in ReliabilitySettings().measured_with
    known = ReliabilitySettings.model_validate({"trained_on": {"t": one}}).measured_with
    assert known["trained_on"] == list_digests({"t": one})
