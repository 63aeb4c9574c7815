"""A tiny world that the tests of several stages share: 120 pairs of two modalities, two random teachers."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # several processes test at once, and tests start processes

import pytest

from mmkd.curation.curate import curate, fingerprints
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import TableSource
from mmkd.folders.stage import Stage, complete
from mmkd.phantom.sampling import World
from mmkd.phantom.write import write_pairs
from mmkd.student.settings import StudentSettings
from mmkd.teachers.zoo.settings import ExtractSettings, TeacherSpec
from tiny import MACHINE, REALDATA, tiny_config


@pytest.fixture(autouse=True)
def weights_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's converted weights would be kept."""
    from mmkd.teachers.files.checkpoint import cache_folder

    monkeypatch.setenv("MMKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMKD_TEACHERS", raising=False)
    return cache_folder()


@pytest.fixture
def float64() -> Iterator[None]:
    """Tensors and modules that the test makes are in double precision: laws of arithmetic hold to 15 digits there."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real test material; tests that ask for it are skipped where it is absent."""
    if not REALDATA.is_dir():
        pytest.skip(f"real test material not found at {REALDATA}; set MMKD_REALDATA to its folder")
    return REALDATA


@pytest.fixture(scope="session")
def tiny_student() -> StudentSettings:
    return StudentSettings(config=tiny_config())


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pairs/pairs.csv` and images."""
    folder = tmp_path_factory.mktemp("world")
    write_pairs(folder / "pairs", World(("x-ray", "oct"), 0, "tiny"), 120)
    return folder


@pytest.fixture(scope="session")
def make_corpus(tiny_world: Path) -> Callable[[Path], Path]:
    """A function that curates the tiny world into `folder/corpus`."""

    def make(folder: Path) -> Path:
        settings = CurateSettings(sources=[TableSource(kind="table", path=tiny_world / "pairs" / "pairs.csv")], val=0.1)
        stage = Stage(
            "corpus", folder / "corpus", settings.model_dump(mode="json"), fingerprints(settings), ("data-*.arrow",)
        )
        complete(stage, lambda partial: curate(settings, partial, MACHINE, seed=0))
        return stage.folder

    return make


@pytest.fixture(scope="session")
def tiny_corpus(make_corpus: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("curated"))


@pytest.fixture(scope="session")
def tiny_teachers(tmp_path_factory: pytest.TempPathFactory) -> list[TeacherSpec]:
    """Two open_clip folders with random weights and different dimensions."""
    from mmkd.student.build import build_student
    from mmkd.teachers.files.open_clip_folder import save

    folder = tmp_path_factory.mktemp("teachers")
    specs = []
    for seed, (name, dim) in enumerate({"narrow": 8, "wide": 24}.items()):
        save(build_student(StudentSettings(config=tiny_config(dim)), seed), folder / name)
        specs.append(TeacherSpec(name=name, model=f"local-dir:{folder / name}", licence="MIT"))
    return specs


@pytest.fixture(scope="session")
def tiny_features(
    tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from mmkd.features.extract import extract

    folder = tmp_path_factory.mktemp("features")
    extract(tiny_teachers, ExtractSettings(batch_size=32, shard_rows=50), tiny_corpus, folder, MACHINE)
    return folder


@pytest.fixture(scope="session")
def tiny_patches(tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same features with patches on a grid of 2 x 2, and `blind`, whose one patch is smaller than that."""
    from mmkd.features.extract import extract
    from mmkd.student.build import build_student
    from mmkd.teachers.files.open_clip_folder import save

    folder = tmp_path_factory.mktemp("patches")
    save(build_student(StudentSettings(config=tiny_config(12, patch=32)), 7), folder / "models" / "blind")
    blind = TeacherSpec(name="blind", model=f"local-dir:{folder / 'models' / 'blind'}", licence="MIT")
    settings = ExtractSettings(batch_size=32, shard_rows=50, patches=2)
    extract([*tiny_teachers, blind], settings, tiny_corpus, folder / "features", MACHINE)
    return folder / "features"


@pytest.fixture(scope="session")
def tiny_reliability(tiny_corpus: Path, tiny_features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By the rank test, which takes less time than a fit; `tiny_stacks` has slopes beside it."""
    from mmkd.reliability.settings import ReliabilitySettings
    from mmkd.reliability.stage import measure_reliability

    stage = Stage("reliability", tmp_path_factory.mktemp("measured") / "reliability", {})
    complete(
        stage,
        lambda partial: measure_reliability(
            ReliabilitySettings(method="rank"), tiny_corpus, tiny_features, ["narrow", "wide"], partial, seed=0
        ),
    )
    return stage.folder


@pytest.fixture(scope="session")
def tiny_stacks(tiny_reliability: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reliability of the tiny teachers with made-up slopes."""
    from mmkd.reliability.table import load_reliability
    from stacks import write_stacked

    folder = tmp_path_factory.mktemp("stacked") / "reliability"
    return write_stacked(load_reliability(tiny_reliability), folder, {"narrow": 12.0, "wide": 5.0})
