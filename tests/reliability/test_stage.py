"""The calibrate stage on teachers of known skill, its folder, and the projections of the reference recipe."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.features.store import TeacherFacts, feature_columns, feature_table, write_facts
from mmkd.folders.arrow import arrow_schema, finish, write_shard
from mmkd.folders.stage import Stage, complete
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stage import measure_reliability
from mmkd.reliability.table import ReliabilityTable, load_reliability
from mmkd.training.experimental.projections import linear_projections, train_autoencoder
from signed_folder import sign
from tolerance import assert_rounding


def write_teacher(
    folder: Path, corpus: Corpus, expert_in: set[str], seed: int, failed_on: tuple[str, ...] = ()
) -> None:
    """Features that match image and caption where it is an expert, none where it failed, unrelated ones elsewhere."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(len(corpus), 12))
    text = np.where(np.isin(corpus.modalities, list(expert_in))[:, None], image, rng.normal(size=image.shape))
    text[np.isin(corpus.modalities, failed_on)] = np.nan
    sides = {
        name: side / np.linalg.norm(side, axis=1, keepdims=True) for name, side in (("image", image), ("text", text))
    }

    def body(partial: Path) -> dict[str, int]:
        table = feature_table(corpus.table.data.column("id"), sides)
        write_shard(partial / "data-00000-of-00001.arrow", arrow_schema(feature_columns(12)), [table])
        finish(partial, feature_columns(12), ["data-00000-of-00001.arrow"], "ab" * 32)
        write_facts(partial, TeacherFacts(folder.name, 12, "MIT", "made up"))
        return {}

    complete(Stage("features", folder, {"seed": seed}, {"corpus": corpus.digest}), body)


@pytest.fixture(scope="module")
def measured(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    corpus = Corpus(tiny_corpus)
    skills: dict[str, set[str]] = {"chest": {"x-ray"}, "eye": {"oct"}, "nobody": set()}
    for seed, (name, expert_in) in enumerate(skills.items()):
        write_teacher(folder / "features" / name, corpus, expert_in, seed)
    stage = Stage("reliability", folder / "reliability", {})
    complete(
        stage,
        lambda partial: measure_reliability(
            ReliabilitySettings(method="rank"), tiny_corpus, folder / "features", list(skills), partial, 0
        ),
    )
    return stage.folder


def weight_table(reliability: ReliabilityTable) -> dict[tuple[str, str], float]:
    return {(cell.group, cell.teacher): cell.weight for cell in reliability.cells}


def test_experts_are_trusted_where_they_are_experts(measured: Path) -> None:
    weight = weight_table(load_reliability(measured))
    assert {pair for pair, value in weight.items() if value == 1.0} == {("x-ray", "chest"), ("oct", "eye")}
    assert all(value < 0.05 for pair, value in weight.items() if value < 1.0)


def test_rows_get_the_weights_of_their_modality_and_unknown_ones_none(measured: Path) -> None:
    reliability = load_reliability(measured)
    weight_NK = reliability.weights(np.array(["oct", "x-ray", "ct", "oct"]))
    assert weight_NK.shape == (4, 3)
    assert weight_NK.dtype == np.float32
    assert weight_NK[:, 0].tolist()[1] == 1.0
    assert weight_NK[:, 1].tolist()[0] == weight_NK[:, 1].tolist()[3] == 1.0
    assert weight_NK[2].tolist() == [0.0, 0.0, 0.0]


def test_the_folder_keeps_what_was_measured(measured: Path) -> None:
    reliability = load_reliability(measured)
    chest = reliability.teachers[0]
    assert (chest.name, chest.dim, chest.licence) == ("chest", 12, "MIT")
    assert chest.image_mean.shape == (12,)
    assert 1.0 <= chest.scale <= 200.0
    assert chest.image_dispersion > 1.0  # random directions in 12 dimensions lie far from their mean


def test_a_folder_that_is_no_reliability_table_is_named(measured: Path, tmp_path: Path) -> None:
    shutil.copytree(measured, tmp_path / "broken")
    (tmp_path / "broken" / "reliability.json").write_text('{"teachers": [{"name": "x"}]}')
    sign(tmp_path / "broken")
    with pytest.raises(DataError, match="not a reliability folder"):
        load_reliability(tmp_path / "broken")


@pytest.mark.parametrize("by", ["modality", "cluster"])
def test_a_teacher_without_features_of_a_modality_is_not_trusted_there(
    by: str, tiny_corpus: Path, tmp_path: Path
) -> None:
    corpus = Corpus(tiny_corpus)
    write_teacher(tmp_path / "features" / "both", corpus, {"x-ray", "oct"}, 0)
    write_teacher(tmp_path / "features" / "half", corpus, {"x-ray"}, 1, failed_on=("oct",))
    settings = ReliabilitySettings.model_validate({"by": by, "method": "rank"})
    stage = Stage("reliability", tmp_path / "reliability", {})
    complete(stage, lambda p: measure_reliability(settings, tiny_corpus, tmp_path / "features", ["both", "half"], p, 0))
    found = load_reliability(stage.folder)
    weight = {name: found.weights(found.groups(corpus))[:, k] for k, name in enumerate(["both", "half"])}
    assert (weight["both"] == 1).all()
    if by == "modality":
        assert weight["half"][corpus.modalities == "oct"].max() == 0
        assert weight["half"][corpus.modalities == "x-ray"].min() > 0.9


def test_a_teacher_without_any_features_is_named(tiny_corpus: Path, tmp_path: Path) -> None:
    write_teacher(tmp_path / "features" / "silent", Corpus(tiny_corpus), set(), 0, failed_on=("x-ray", "oct"))
    with pytest.raises(DataError, match="'silent' has vectors of none of the"):
        measure_reliability(ReliabilitySettings(), tiny_corpus, tmp_path / "features", ["silent"], tmp_path / "out", 0)


def test_linear_projections_keep_angles() -> None:
    for projection, dim in zip(linear_projections([8, 40], 16, seed=0), [8, 40], strict=True):
        gram = projection.weight @ projection.weight.T if dim > 16 else projection.weight.T @ projection.weight
        assert_rounding(gram, torch.eye(min(dim, 16)))


def test_the_autoencoder_learns_to_rebuild_and_is_deterministic() -> None:
    data = F.normalize(torch.randn(64, 10, generator=torch.Generator().manual_seed(0)), dim=1)
    valid = torch.ones(64, dtype=torch.bool)
    absent = torch.zeros(64, dtype=torch.bool)

    def batches(step: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        return [(data, data, valid), (data[:, :6], data[:, :6], absent)]

    start = torch.random.get_rng_state()
    one, same = (train_autoencoder([10, 6], 8, batches, steps=30, seed=3) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), start)
    assert torch.equal(one[0].weight, same[0].weight)
    untrained = train_autoencoder([10, 6], 8, batches, steps=0, seed=3)
    assert not torch.equal(one[0].weight, untrained[0].weight)
    # a teacher without features in the batches is left alone
    torch.testing.assert_close(one[1].weight, untrained[1].weight, rtol=0.05, atol=1e-3)
