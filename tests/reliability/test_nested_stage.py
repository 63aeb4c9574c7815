"""The stage `reliability` with by = "nested": its folder, its table, what is said, and the stack on a data set."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mmkd.corpus.schema import Corpus
from mmkd.errors import ConfigError, DataError
from mmkd.features.store import open_features
from mmkd.folders.stage import Stage, complete
from mmkd.pipeline.recipe import load_recipe
from mmkd.reliability.part_files import PARTS
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stage import measure_reliability
from mmkd.reliability.table import ReliabilityTable, load_reliability
from mmkd.reliability.teacher_stack import stack_of
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.targets.teacher_targets import teacher_targets
from nest_world import TEACHERS, TwoOrgans, write_two_organs

COUNT, OTHERS = 560, 250
RECIPE = Path(__file__).parents[2] / "recipes" / "demo.toml"


def measured(folder: Path, out: Path) -> ReliabilityTable:
    settings = ReliabilitySettings(method="stacking", by="nested", bootstrap=50)
    stage = Stage("reliability", out, {})
    corpus, features = folder / "corpus", folder / "features"
    complete(stage, lambda partial: measure_reliability(settings, corpus, features, list(TEACHERS), partial, 0))
    return load_reliability(out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("organs")


@pytest.fixture(scope="module")
def world(folder: Path) -> TwoOrgans:
    return write_two_organs(folder, COUNT, OTHERS)


@pytest.fixture(scope="module")
def made(folder: Path, world: TwoOrgans, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stage."""
    out = tmp_path_factory.mktemp("measured") / "nested"
    measured(folder, out)
    return out


@pytest.fixture(scope="module")
def table(made: Path) -> ReliabilityTable:
    return load_reliability(made)


def test_every_pair_is_in_one_group_and_ct_alone_is_divided(
    table: ReliabilityTable, world: TwoOrgans, folder: Path
) -> None:
    group_N = table.groups(Corpus(folder / "corpus"))
    assert table.group_names == ["ct / 1", "ct / 2", "oct"]
    assert set(group_N.tolist()) == set(table.group_names)
    assert (group_N[COUNT:] == "oct").all()
    for organ in (0, 1):  # held-out rows as well
        name_P, count_P = np.unique(group_N[:COUNT][world.organ_N == organ], return_counts=True)
        assert count_P.max() / count_P.sum() > 0.97, name_P


def test_slopes_and_records_are_those_of_parts(table: ReliabilityTable, world: TwoOrgans, folder: Path) -> None:
    group_N = table.groups(Corpus(folder / "corpus"))
    slope_NT = table.slopes(group_N)
    kidney_N = np.append(world.organ_N == 0, np.zeros(OTHERS, dtype=bool))
    lung_N = np.append(world.organ_N == 1, np.zeros(OTHERS, dtype=bool))
    assert (slope_NT[kidney_N].argmax(axis=1) == 1).mean() > 0.97
    assert (slope_NT[lung_N].argmax(axis=1) == 2).mean() > 0.97
    stacks = {stack.group: stack for stack in table.stacks}
    assert [stacks[name].whole for name in table.group_names] == ["ct", "ct", ""]
    assert all(stacks[name].gain > stacks[name].gain_whole > 0 for name in ("ct / 1", "ct / 2"))
    assert table.group_word == "group"


def test_the_stacked_term_reads_the_slopes_of_the_part(table: ReliabilityTable, folder: Path) -> None:
    corpus = Corpus(folder / "corpus")
    rows, features = corpus.rows("train"), open_features(folder / "features", corpus, TEACHERS)
    targets = teacher_targets(DistillSettings(objective="stacked"), corpus, rows, features, table, 0)
    assert targets.slope_NT is not None
    assert targets.group_N is not None
    np.testing.assert_array_equal(targets.slope_NT, table.slopes(table.groups(corpus)[rows]))
    assert len(set(targets.group_N.tolist())) == 3


def test_a_data_set_has_the_slopes_of_the_part_that_its_texts_ask_about(
    table: ReliabilityTable, world: TwoOrgans, folder: Path
) -> None:
    stack = stack_of(table, Corpus(folder / "corpus"))
    assert stack.asked("oct") == []
    assert set(stack.asked("ct")) <= set(TEACHERS)
    kidney, lung = ({name: text[world.organ_N == organ] for name, text in world.texts.items()} for organ in (0, 1))
    for texts, expert in ((kidney, "kidney"), (lung, "lung")):
        found, shares = stack.for_texts("ct", texts)
        slopes = found.slopes("ct")
        assert max(slopes, key=lambda name: slopes[name]) == expert
        assert max(shares.values()) > 0.97
        assert found.slopes("oct") == stack.slopes("oct")
    half = {name: np.concatenate([kidney[name][:50], lung[name][:50]]) for name in world.texts}
    found, shares = stack.for_texts("ct", half)
    assert sum(shares.values()) == pytest.approx(1.0)
    slopes = found.slopes("ct")
    for name, slope in slopes.items():
        parts = [(share, stack.of_part[part]) for part, share in shares.items()]
        ratio = sum(share * own.get(name, 0.0) / sum(own.values()) for share, own in parts)
        assert slope / sum(slopes.values()) == pytest.approx(ratio)


def test_the_folder_is_made_again_bit_by_bit_and_says_its_parts(
    table: ReliabilityTable, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = measured(folder, tmp_path / "again")
    assert again.digest == table.digest
    assert again.parts is not None
    assert table.parts is not None
    assert again.parts.group_N.tolist() == table.parts.group_N.tolist()
    said = capsys.readouterr()
    assert "ct is divided into 2 parts" in said.out + said.err
    assert "kidney finding" in said.out + said.err
    assert f"{table.stacks[0].gain_whole:.3f}" in said.out


def test_a_folder_without_its_parts_is_none(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "damaged")
    (tmp_path / "damaged" / PARTS).unlink()
    with pytest.raises(DataError, match=r"parts\.safetensors is missing"):
        load_reliability(tmp_path / "damaged")


def test_parts_without_stacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'by = "nested".*method = "stacking"'):
        load_recipe(RECIPE, tmp_path, ["reliability.by=nested", "reliability.method=rank"])
