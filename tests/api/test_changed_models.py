"""An export that somebody has changed: refused by every command that loads it, and nothing of it is ever executed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_onnx import write_tiny_onnx
from typer.testing import CliRunner

import mmkd
from mmkd.archive.archive import Archive
from mmkd.archive.rows import facts_of
from mmkd.cli import make_app
from mmkd.errors import MmkdError
from mmkd.export.checksums import write_sums
from mmkd.folders.sums import SUMS
from mmkd.inference.model import open_model
from mmkd.inference.onnx import OnnxModel
from mmkd.serve.start import Computing, open_service
from tiny import save_tiny, write_noise

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


class Evil:
    """A pickle that makes a file when it is read."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.ran,)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with a list of sums."""
    folder = save_tiny(tmp_path_factory.mktemp("whole") / "export")
    write_sums(folder)
    return folder


@pytest.fixture
def export(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "export"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures, a table that labels them, and an archive of the whole export."""
    folder = tmp_path_factory.mktemp("pictures")
    names = write_noise(folder, 6, 0)
    rows = [f"{path.name},{'ab'[place % 2]}" for place, path in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    return folder


def command(*given: object) -> None:
    done = CliRunner().invoke(make_app(), list(map(str, given)), catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output


def search(model: Path, pictures: Path, out: Path) -> None:
    place = pictures / "archive"
    if not place.exists():
        whole = open_model(str(model), "cpu")
        Archive.create(place, facts_of(whole, str(model)))
    command("search", place, "lung", "--model", model)


Door = Callable[[Path, Path, Path], object]
DOORS: dict[str, Door] = {
    "mmkd.load": lambda model, pictures, out: mmkd.load(str(model)),
    "serve": lambda model, pictures, out: open_service(str(model), computing=Computing("cpu")).close(),
    "serve beside another": lambda model, pictures, out: open_service(
        str(save_tiny(out / "student")), [f"t={model}"], computing=Computing("cpu")
    ).close(),
    "embed": lambda model, pictures, out: command("embed", pictures, "--model", model, "--out", out / "v.parquet"),
    "label": lambda model, pictures, out: command(
        "label", pictures, "--model", model, "--classes", "a,b", "--out", out / "l.csv"
    ),
    "index": lambda model, pictures, out: command("index", pictures, "--model", model, "--out", out / "archive"),
    "search": search,
    "adapt": lambda model, pictures, out: command(
        "adapt", "--model", model, "--labels", pictures / "labels.csv", "--out", out / "adapted"
    ),
    "export": lambda model, pictures, out: command("export", model, "--to", "open_clip", "--out", out / "again"),
}


def with_key(path: Path, **keys: object) -> None:
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.is_file() else {}), **keys}))


def other_preprocessing(folder: Path) -> None:
    with_key(folder / CONFIG, preprocess_cfg={"mean": [0, 0, 0], "std": [1, 1, 1]})


def flipped(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)


@pytest.mark.parametrize("door", DOORS)
def test_a_changed_file_is_refused_by_every_command(export: Path, pictures: Path, tmp_path: Path, door: str) -> None:
    if door == "search":
        DOORS[door](export, pictures, tmp_path)
    for change, name in ((other_preprocessing, CONFIG), (flipped, WEIGHTS)):
        shutil.copytree(export, tmp_path / name)
        change(tmp_path / name)
        with pytest.raises(MmkdError, match=f"{name} has changed; the model is not loaded. Copy or export it again"):
            DOORS[door](tmp_path / name, pictures, tmp_path)
    assert not any((tmp_path / made).exists() for made in ("v.parquet", "l.csv", "archive", "adapted", "again"))


AUTO_MAP = {name: "code.Anything" for name in ("AutoModel", "AutoConfig", "AutoTokenizer", "AutoProcessor")}
ATTACKS: dict[str, Callable[[Path, Path], object]] = {
    "auto_map": lambda at, ran: with_key(at / "config.json", model_type="clip", auto_map=AUTO_MAP),
    "trust_remote_code": lambda at, ran: with_key(at / "tokenizer_config.json", trust_remote_code=True),
    "a pickle beside the weights": lambda at, ran: [
        torch.save({"a": Evil(ran)}, at / name) for name in ("pytorch_model.bin", "open_clip_pytorch_model.bin", "w.pt")
    ],
    "a pickle in place of the weights": lambda at, ran: [
        (at / WEIGHTS).unlink(),
        torch.save({"a": Evil(ran)}, at / "open_clip_pytorch_model.bin"),
    ],
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("has_sums", [True, False])
def test_nothing_of_an_export_is_executed_by_any_command(
    export: Path, pictures: Path, tmp_path: Path, attack: str, has_sums: bool
) -> None:
    """It is refused, or what was put there is not looked at; without the list of sums as well."""
    ran = tmp_path / "ran"
    (export / "code.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Anything: pass\n")
    ATTACKS[attack](export, ran)
    if not has_sums:
        (export / SUMS).unlink()
    harmless = attack == "a pickle beside the weights"  # safetensors are there, and only they are read
    for name, door in DOORS.items():
        out = tmp_path / f"by {name}"
        out.mkdir()
        if name in ("adapt", "search") or (harmless and name in ("export", "serve beside another")):
            continue  # they open it as `embed` does: `test_a_changed_file_is_refused_by_every_command`
        if harmless:
            door(export, pictures, out)
        else:
            with pytest.raises(MmkdError):
                door(export, pictures, out)
        assert not ran.exists(), name


def test_an_export_without_sums_is_loaded_and_it_is_said(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_model(str(export), "cpu")
    assert "not checked" not in capsys.readouterr().err
    (export / SUMS).unlink()
    open_model(str(export), "cpu")
    assert f"{export}: no SHA256SUMS in it, so its files are not checked" in capsys.readouterr().err
    open_model(str(export), "cpu")
    assert capsys.readouterr().err == ""  # once


def test_files_for_onnx_runtime_are_checked_as_well(tmp_path: Path) -> None:
    folder = write_tiny_onnx(tmp_path / "onnx")
    write_sums(folder)
    OnnxModel(folder)
    facts = json.loads((folder / "onnx.json").read_text())
    (folder / "onnx.json").write_text(json.dumps({**facts, "scale": 99.0}))
    with pytest.raises(MmkdError, match=r"onnx\.json has changed"):
        OnnxModel(folder)
