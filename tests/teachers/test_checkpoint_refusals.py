"""What is no plain checkpoint: nothing of it runs, nothing is kept, and the message says what it is."""

import contextlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from mmkd.errors import ModelError
from mmkd.teachers.files.checkpoint import read_state_dict


def weights() -> dict[str, Tensor]:
    return {"weight": torch.ones(4, 3), "bias": torch.zeros(4)}


class Evil:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("place", ["beside the weights", "as a weight", "alone", "legacy", "plain pickle"])
def test_a_pickle_that_runs_code_does_not(place: str, tmp_path: Path, weights_cache: Path) -> None:
    evil, path = Evil(tmp_path / "ran"), tmp_path / "w.pt"
    content: Any = {
        "beside the weights": {"state_dict": weights(), "args": evil},
        "as a weight": {**weights(), "bias": evil},
    }.get(place, evil)
    if place == "plain pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=place != "legacy")
    with pytest.raises(ModelError, match="holds more than weights") as caught:
        read_state_dict(path)
    assert "weights_only" not in str(caught.value)  # torch's advice to switch it off is not passed on
    assert not (tmp_path / "ran").exists()
    assert not weights_cache.exists()


def test_what_a_pickle_wants_to_call_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": weights(), "array": np.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(
        ModelError, match=r"holds more than weights \(.*numpy\.ndarray.*\); *|numpy\._core.*_reconstruct"
    ):
        read_state_dict(tmp_path / "w.pt")


def test_torchscript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
    with pytest.raises(ModelError, match="TorchScript archive, which is a program"):
        read_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.3, 0.5, 0.8, 0.99])
def test_files_that_are_cut_off_are_said_to_be(part: float, zipped: bool, tmp_path: Path, weights_cache: Path) -> None:
    whole = io.BytesIO()
    torch.save(weights(), whole, _use_new_zipfile_serialization=zipped)
    path = tmp_path / "w.bin"
    path.write_bytes(whole.getvalue()[: int(part * len(whole.getvalue()))])
    with pytest.raises(ModelError, match=r"w\.bin: .*(cut off|damaged|not a checkpoint)"):
        read_state_dict(path)
    assert not weights_cache.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_harmless(zipped: bool, tmp_path: Path, place: float, value: int) -> None:
    whole = io.BytesIO()
    torch.save({"w": torch.ones(3), "b": torch.zeros(2)}, whole, _use_new_zipfile_serialization=zipped)
    content = bytearray(whole.getvalue())
    content[int(place * len(content))] = value
    (tmp_path / "w.pt").write_bytes(content)
    with contextlib.suppress(ModelError):
        assert all(isinstance(tensor, Tensor) for tensor in read_state_dict(tmp_path / "w.pt").values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!doctype html><title>Sign in</title>", r"begins b'<!doctype html>"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer"),
        ({}, "expected a state dict of tensors, found a dict$"),
        ({"args": 1, "net": {"w": torch.ones(1)}}, "found a dict with 'args', 'net'"),
        ([torch.ones(1)], "found a list"),
    ],
)
def test_what_is_no_checkpoint_is_described(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ModelError, match=message):
        read_state_dict(path)


def test_a_zip_file_of_weights_is_to_be_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "medclip.bin", "w") as archive:
        archive.writestr("pytorch_model.bin", b"weights")
    with pytest.raises(ModelError, match=r"holds pytorch_model\.bin\); unpack it"):
        read_state_dict(tmp_path / "medclip.bin")


@pytest.mark.parametrize("name", ["gone.pt", "gone.safetensors"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"{name}: .*No such file"):
        read_state_dict(tmp_path / name)


def test_damaged_safetensors_are_named(tmp_path: Path) -> None:
    save_file(weights(), tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:-3])
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        read_state_dict(tmp_path / "w.safetensors")
