"""Pictures without captions among pairs: teachers are judged on the pairs alone, groups have the pictures, too."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_world import FeatureWorld, make_feature_world, write_corpus, write_features
from mmkd.corpus.schema import Corpus
from mmkd.features.store import open_features
from mmkd.folders.stage import Stage, complete
from mmkd.reliability.clusters import find_clusters
from mmkd.reliability.nest import Nest, nest_of, parts_of
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stage import measure_reliability
from mmkd.reliability.table import ReliabilityTable, load_reliability
from mmkd.reliability.teacher_stack import stack_of
from nest_world import TEACHERS, TwoOrgans, two_organs

SKILLS = {"osteology": {"bone": "right"}, "retinology": {"retina": "right"}}
SIZES = {"bone": 500, "retina": 400}


def measured(world: FeatureWorld, out: Path, **keys: Any) -> ReliabilityTable:
    settings = ReliabilitySettings.model_validate({"bootstrap": 20, **keys})
    corpus, features = world.folder / "corpus", world.folder / "features"
    stage = Stage("reliability", out, {})
    complete(stage, lambda partial: measure_reliability(settings, corpus, features, world.teachers, partial, 0))
    return load_reliability(out)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FeatureWorld:
    return make_feature_world(tmp_path_factory.mktemp("world"), SKILLS, SIZES, labelled=True, captionless=0.4)


@pytest.fixture(scope="module")
def told(world: FeatureWorld, tmp_path_factory: pytest.TempPathFactory) -> FeatureWorld:
    """The same world without its pictures without captions."""
    folder, corpus, place = tmp_path_factory.mktemp("told"), world.corpus, np.flatnonzero(world.corpus.captioned)
    columns = {name: np.array(corpus.column(name))[place].tolist() for name in ("id", "caption", "modality", "split")}
    columns["group"] = [f"row {row}" for row in place]  # what is held out together is known by the row in the world
    write_corpus(folder / "corpus", columns)
    for teacher in world.features:
        image_ND, text_ND, _ = teacher.take(place)
        write_features(folder / "features" / teacher.name, Corpus(folder / "corpus"), sides(image_ND, text_ND))
    return FeatureWorld(folder, world.modality_N[place], world.kept_N[place], world.teachers)


def sides(image_ND: np.ndarray, text_ND: np.ndarray) -> Mapping[str, np.ndarray]:
    return {"image": image_ND.astype(np.float64), "text": text_ND.astype(np.float64)}


@pytest.mark.parametrize("method", ["rank", "stacking"])
def test_teachers_are_judged_as_on_the_pairs_alone(
    world: FeatureWorld, told: FeatureWorld, method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    among, alone = (measured(one, tmp_path / name, method=method) for name, one in (("a", world), ("b", told)))
    assert [asdict(cell) for cell in among.cells] == [asdict(cell) for cell in alone.cells]
    assert among.stacks == alone.stacks
    without = np.count_nonzero(~world.corpus.captioned[world.corpus.rows("train")])
    assert f"{without:,} pictures without a caption cannot show" in " ".join(capsys.readouterr().out.split())
    assert stack_of(among, world.corpus) == stack_of(alone, told.corpus)


def test_a_picture_without_a_caption_is_in_the_cluster_of_its_image(world: FeatureWorld) -> None:
    corpus = world.corpus
    cluster_N = find_clusters(world.features, corpus.pairs("train"), len(corpus), 2, seed=0)
    for inside_N in (corpus.captioned, ~corpus.captioned):
        of_bone = cluster_N[inside_N & (world.modality_N == "bone")]
        of_retina = cluster_N[inside_N & (world.modality_N == "retina")]
        assert abs(of_bone.mean() - of_retina.mean()) > 0.98


def nested(world: TwoOrgans, folder: Path, untold_N: np.ndarray) -> Nest:
    """The parts by the pairs, for the pairs and for the pictures without a caption."""
    count = len(world.organ_N)
    captions = np.where(untold_N, "", "a caption").tolist()
    write_corpus(folder / "corpus", {"caption": captions, "modality": ["ct"] * count})
    for name, (image_ND, text_ND) in zip(TEACHERS, world.sides, strict=True):
        text_ND = np.where(untold_N[:, None], np.nan, text_ND)
        write_features(folder / "features" / name, Corpus(folder / "corpus"), {"image": image_ND, "text": text_ND})
    pairs = [(image_ND[~untold_N], text_ND[~untold_N]) for image_ND, text_ND in world.sides]
    units = np.arange(len(pairs[0][0]))
    parts = parts_of("ct", TEACHERS, pairs, units, 5, 2_048, np.random.default_rng(0))
    assert parts is not None
    features = open_features(folder / "features", Corpus(folder / "corpus"), TEACHERS)
    return nest_of({"ct": parts}, features, np.full(count, "ct"))


def test_a_picture_without_a_caption_is_in_the_part_of_its_organ(tmp_path: Path) -> None:
    world, untold_N = two_organs(900), np.random.default_rng(1).random(900) < 0.3
    nest = nested(world, tmp_path, untold_N)
    for organ in (0, 1):
        of_pairs, of_pictures = (
            nest.group_N[inside_N & (world.organ_N == organ)] for inside_N in (~untold_N, untold_N)
        )
        part_P, count_P = np.unique(of_pairs, return_counts=True)
        assert np.mean(of_pictures == part_P[count_P.argmax()]) > 0.95
