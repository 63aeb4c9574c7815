"""Named pipes and devices at every door: they are refused or counted, and nothing waits for them."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from PIL import Image

from mmkd.ablate.settings import load_ablation
from mmkd.cards.catalogue import read_card
from mmkd.curation.curate import curate
from mmkd.curation.settings.curate import CurateSettings
from mmkd.errors import MmkdError
from mmkd.evaluation.data_sets.checks import problems
from mmkd.labels.classes import classes_of
from mmkd.pipeline.recipe import load_recipe
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.checkpoint import check_header, read_state_dict
from mmkd.teachers.files.open_clip_folder import load, read_config
from tiny import MACHINE, save_tiny, tiny_config

PATIENCE_S = 20


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """A test that waits for a pipe fails, and does not wait for ever."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it waits for a pipe")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(PATIENCE_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def picture(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (level, 90, 200)).save(path)
    return path


SOURCES: dict[str, dict[str, Any]] = {
    "t.csv": {"kind": "table"},
    "t.jsonl": {"kind": "table"},
    "t.parquet": {"kind": "table"},
    "t.tar": {"kind": "webdataset"},
    "t.npz": {"kind": "npz", "classes": ["a", "b"], "modality": "ct"},
    "folder": {"kind": "folders"},
    "dicom": {"kind": "dicom"},
    "nifti": {"kind": "nifti"},
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_that_is_a_pipe(name: str, tmp_path: Path) -> None:
    told = curating({"path": pipe(tmp_path / name), "name": "s", **SOURCES[name]}, tmp_path / "corpus")
    assert "a named pipe" in told, told


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
@pytest.mark.parametrize("kind", ["table", "webdataset", "folders"])
def test_a_source_that_is_a_device(kind: str, device: str, tmp_path: Path) -> None:
    assert "a device" in curating({"path": device, "name": "s", "kind": kind}, tmp_path / "corpus")


INSIDE = {
    "data/t.jsonl": {"kind": "table"},
    "data/t.parquet": {"kind": "table"},
    "data/t.tar": {"kind": "webdataset"},
    "data/t.tar.gz": {"kind": "webdataset"},
    "data/a/x.png": {"kind": "folders"},
    "data/a/x.dcm": {"kind": "dicom"},
    "data/a/x.nii.gz": {"kind": "nifti"},
}


@pytest.mark.parametrize("name", INSIDE)
def test_a_pipe_in_the_folder_of_a_source(name: str, tmp_path: Path) -> None:
    pipe(tmp_path / name)
    told = curating({"path": tmp_path / "data", "name": "s", **INSIDE[name]}, tmp_path / "corpus")
    assert "a named pipe" in told, told


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_pipe_among_tables_of_a_pattern(name: str, tmp_path: Path) -> None:
    path = pipe(tmp_path / "data" / name)
    told = curating({"path": path.with_stem("*"), "name": "s", "kind": "table"}, tmp_path / "corpus")
    assert f"{path}: a named pipe" in told


def curating(source: dict[str, Any], corpus: Path) -> str:
    settings = CurateSettings.model_validate({"sources": [source], "max_rejected": 1.0})
    corpus.mkdir()
    with pytest.raises(MmkdError) as refused:
        curate(settings, corpus, MACHINE, seed=0)
    return str(refused.value)


LAYOUTS = {
    "folders": 'reader = "folders"\npath = "data"',
    "table": 'reader = "table"\npath = "data/pipe.csv"',
    "named in a table": 'reader = "table"\npath = "t.csv"',
    "npz": 'reader = "npz"\npath = "data/pipe.npz"',
    "h5": 'reader = "h5"\npictures = { test = "data/pipe.h5" }\ntruths = { test = "data/pipe.h5" }',
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_pipe_in_a_data_set(name: str, tmp_path: Path) -> None:
    for label in ("a", "b"):
        picture(tmp_path / f"data/{label}/1.png")
    for file in ("a/pipe.png", "pipe.csv", "pipe.npz", "pipe.h5"):
        pipe(tmp_path / "data" / file)
    (tmp_path / "t.csv").write_text("image,label\ndata/a/pipe.png,a\ndata/b/1.png,b\n")
    path = card(tmp_path, LAYOUTS[name])
    found = problems(read_card(path))
    assert any("a named pipe" in problem for problem in found), found


def card(folder: Path, layout: str) -> Path:
    classes = "".join(f'[[classes]]\nname = "{name}"\nprompts = ["{name}"]\n' for name in ("a", "b"))
    path = folder / "card.toml"
    path.write_text(f'id = "s"\nmodality = "ct"\ntasks = ["zero_shot"]\nlicence = "CC0"\n[layout]\n{layout}\n{classes}')
    return path


TOML: dict[str, Callable[[Path], object]] = {
    "recipe": lambda path: load_recipe(path, path.parent / "run"),
    "card": read_card,
    "ablation": load_ablation,
    "classes": lambda path: classes_of(str(path)),
}


@pytest.mark.parametrize("name", TOML)
def test_a_pipe_in_place_of_a_file_of_settings(name: str, tmp_path: Path) -> None:
    with pytest.raises(MmkdError, match="a pipe or a device, which is not opened"):
        TOML[name](pipe(tmp_path / "x.toml"))
    endless = tmp_path / "endless.toml"
    endless.symlink_to("/dev/zero")
    with pytest.raises(MmkdError, match="a pipe or a device, which is not opened"):
        TOML[name](endless)


@pytest.mark.parametrize(
    "name", ["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json", "config.json", "SHA256SUMS"]
)
def test_a_pipe_in_the_folder_of_a_model(name: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model")
    pipe(folder / name)
    for opened in (read_config, load, lambda at: build_student(StudentSettings(pretrained=f"local-dir:{at}"), 0)):
        with pytest.raises(MmkdError):
            opened(folder)


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin", "w.safetensors.index.json"])
def test_a_pipe_in_place_of_weights(name: str, tmp_path: Path) -> None:
    for read in (read_state_dict, check_header):
        with pytest.raises(MmkdError, match="a named pipe, which is not opened"):
            read(pipe(tmp_path / name))
    with pytest.raises(MmkdError, match="a named pipe, which is not opened"):
        build_student(StudentSettings(config=tiny_config(), weights=tmp_path / name), 0)
