"""ReliabilityTable by the modalities of the evidence: the same names where teachers are tested and where they teach."""

from pathlib import Path

import numpy as np
import pytest

from feature_world import DIM, write_features
from mmkd.commands.options import open_run
from mmkd.errors import ConfigError, DataError
from mmkd.features.evidence.evidence import evidence
from mmkd.features.evidence.settings import EvidenceSettings
from mmkd.features.evidence.stored import StoredEvidence
from mmkd.features.store import open_features
from mmkd.folders.stage import Stage, complete, digest_of, read_manifest
from mmkd.pipeline.run import Run
from mmkd.pipeline.table import STAGES
from mmkd.pipeline.work import require
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stage import measure_reliability
from mmkd.reliability.table import MODALITIES, TABLE, ReliabilityTable, load_reliability
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.targets.teacher_targets import teacher_targets
from seen_world import RECIPE, SHOWN, SeenWorld, make_seen_world
from tiny import MACHINE


@pytest.fixture
def world(tmp_path: Path) -> SeenWorld:
    """The corpus has one modality for all, which is wrong."""
    return make_seen_world(tmp_path, modality=dict.fromkeys(range(240), "x-ray"))


def judged(world: SeenWorld, *teachers: str) -> np.ndarray:
    """The verdicts, which then lie in the folder `evidence`."""
    corpus, features = world.folder / "corpus", world.folder / "features"
    stage = Stage("evidence", world.folder / "evidence", {}, {"corpus": digest_of(corpus)})
    complete(stage, lambda folder: evidence(EvidenceSettings(), corpus, features, teachers, folder, MACHINE))
    return StoredEvidence(stage.folder, corpus).column("modality")


def measured(world: SeenWorld, *teachers: str, by_evidence: bool, method: str = "rank") -> ReliabilityTable:
    settings = ReliabilitySettings.model_validate({"method": method, "bootstrap": 50})
    corpus, features = world.folder / "corpus", world.folder / "features"
    beside = world.folder / "evidence" if by_evidence else None
    stage = Stage("reliability", world.folder / f"reliability-{by_evidence}", {})
    complete(stage, lambda to: measure_reliability(settings, corpus, features, teachers, to, 0, beside))
    return load_reliability(stage.folder)


def test_teachers_are_tested_within_the_verdicts(world: SeenWorld, capsys: pytest.CaptureFixture[str]) -> None:
    world.add("sharp", 1.0, seed=1)
    verdict_N = judged(world, "sharp")
    assert (verdict_N == np.array(SHOWN)[world.truth_N]).all()
    found = measured(world, "sharp", by_evidence=True)
    assert "modalities of the evidence: 240 of 240 pictures have another than in the corpus" in capsys.readouterr().out
    assert sorted(found.group_names) == sorted(SHOWN)
    assert found.groups(world.corpus).tolist() == verdict_N.tolist()
    train_N = verdict_N[world.corpus.rows("train")]
    assert {cell.group: cell.n for cell in found.cells} == {name: (train_N == name).sum() for name in SHOWN}
    # all that it knows is the modality, which is worth nothing within one but much in a group of all
    assert max(cell.percentile for cell in found.cells) < 0.6
    (all_of_it,) = measured(world, "sharp", by_evidence=False).cells
    assert (all_of_it.group, all_of_it.weight) == ("x-ray", 1.0)
    assert all_of_it.percentile > 0.8


def test_the_corpus_is_asked_without_it_and_leaves_what_it_left_before(world: SeenWorld) -> None:
    world.add("sharp", 1.0, seed=1)
    found = measured(world, "sharp", by_evidence=False)
    folder = world.folder / "reliability-False"
    assert found.modality_N is None
    assert not (folder / MODALITIES).exists()
    assert '"modalities"' not in (folder / TABLE).read_text()


def test_rows_of_which_nothing_speaks_are_a_group_of_their_own(world: SeenWorld) -> None:
    world.add("guesser", 0.0, seed=2)
    corpus = world.corpus
    verdict_N = judged(world, "guesser")
    assert set(verdict_N) == {"ct", "mri", "ultrasound", "unknown"}
    cells = {cell.group: cell for cell in measured(world, "guesser", by_evidence=True).cells}
    assert cells["unknown"].n == (verdict_N[corpus.rows("train")] == "unknown").sum() > 0


@pytest.mark.parametrize(("method", "objective"), [("rank", "affinity"), ("stacking", "stacked")])
def test_each_row_learns_from_whom_its_own_verdict_trusts(method: str, objective: str, world: SeenWorld) -> None:
    """The expert pairs pictures and captions of MRI alone; trust and training must call these rows the same."""
    rng = np.random.default_rng(3)
    world.add("sharp", 1.0, seed=1)
    judged(world, "sharp")
    corpus, is_mri_N = world.corpus, world.truth_N == SHOWN.index("mri")
    sides = {side: rng.normal(size=(240, DIM)) for side in ("image", "text")}
    sides["text"][is_mri_N] = sides["image"][is_mri_N]
    write_features(world.folder / "features" / "expert", corpus, sides)
    reliability, rows = measured(world, "expert", by_evidence=True, method=method), corpus.rows("train")
    features = open_features(world.folder / "features", corpus, ["expert"])
    targets = teacher_targets(DistillSettings(objective=objective), corpus, rows, features, reliability, 0)
    if objective == "stacked":
        assert targets.slope_NT is not None
        assert (targets.slope_NT[:, 0] > 0).tolist() == is_mri_N[rows].tolist()
    assert (targets.weight_NT[:, 0] == 1.0).tolist() == is_mri_N[rows].tolist()
    assert targets.weight_NT[~is_mri_N[rows]].max() < 0.05


def test_modalities_of_another_corpus_are_refused(world: SeenWorld, tmp_path: Path) -> None:
    world.add("sharp", 1.0, seed=1)
    judged(world, "sharp")
    found = measured(world, "sharp", by_evidence=True)
    other = make_seen_world(tmp_path / "other", count=300)
    with pytest.raises(DataError, match=r"has modalities of 240 rows, but .* has 300"):
        found.groups(other.corpus)


def run_of(world: SeenWorld, *changes: str) -> Run:
    (world.folder / "mine.toml").write_text(RECIPE)
    return open_run(world.folder / "mine.toml", world.folder, list(changes))


def test_a_run_calibrates_by_its_evidence(world: SeenWorld) -> None:
    world.add("sharp", 1.0, seed=1)
    run = run_of(world, "evidence.min_rows=20", "reliability.modality=evidence")
    with pytest.raises(ConfigError, match=r"reliability needs .*evidence, which is not finished; run 'mmkd evidence'"):
        require(run, "reliability")
    assert list(STAGES).index("evidence") < list(STAGES).index("reliability")
    for name in ("evidence", "reliability"):
        STAGES[name].work(run)
    manifest = read_manifest(world.folder / "reliability")
    assert manifest["inputs"]["evidence"] == digest_of(world.folder / "evidence")
    assert sorted(load_reliability(world.folder / "reliability").group_names) == sorted(SHOWN)
    with pytest.raises(ConfigError, match=r"inputs\.evidence"):  # made by other modalities: not taken for the corpus's
        STAGES["reliability"].work(run_of(world, "evidence.min_rows=20"))


def test_a_run_by_the_corpus_does_not_look_at_the_evidence(world: SeenWorld) -> None:
    world.add("sharp", 1.0, seed=1)
    STAGES["reliability"].work(run_of(world))
    manifest = read_manifest(world.folder / "reliability")
    assert manifest["inputs"].keys() == {"corpus", "features/sharp"}
    assert "modality" not in manifest["settings"]  # so that those made before there was a choice are still its own
