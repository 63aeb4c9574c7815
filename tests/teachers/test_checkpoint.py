"""Weights from outside: every wrapper that is published, nothing that runs, and a conversion that is kept once."""

import io
import json
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
from mmkd.folders.atomic import draft_of
from mmkd.teachers.files import checkpoint
from mmkd.teachers.files.checkpoint import check_header, read_state_dict, refuse_lone_part
from mmkd.teachers.files.identity import file_digest


def weights() -> dict[str, Tensor]:
    """Of several precisions, one number, and integers, as published files have them."""
    draw = torch.Generator().manual_seed(0)
    return {
        "visual.conv1.weight": torch.randn(4, 3, generator=draw).half(),
        "text.ln.bias": torch.randn(5, generator=draw),
        "text.embeddings.position_ids": torch.arange(7)[None],
        "logit_scale": torch.tensor(4.6052),
        "head": torch.randn(2, 2, generator=draw).bfloat16(),
    }


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


def prefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{key}": value for key, value in tensors.items()}


SCALARS = {
    "lr": np.float64(1e-4),
    "loss": np.float32(2.5),
    "epoch": np.int64(3),
    "step": np.int32(9),
    "amp": np.bool_(1),
}
WRAPPINGS: dict[str, Any] = {
    "nothing": lambda t: t,
    "state_dict": lambda t: {"epoch": 3, "name": "run", "state_dict": t, "optimizer": {"state": {0: torch.ones(3)}}},
    "model_state_dict": lambda t: {"best_loss": 0.5, "model_state_dict": t},
    "model": lambda t: {"model": t, "args": {"lr": 0.1}},
    "both": lambda t: {"model": {"state_dict": t}},
    "module": prefixed,
    "state_dict and module": lambda t: {"state_dict": prefixed(t), "scaler": None},
    "NumPy scalars": lambda t: {"state_dict": prefixed(t), **SCALARS},
    "compiled": lambda t: {f"_orig_mod.{key}": value for key, value in t.items()},
    "compiled under DDP": lambda t: {f"module._orig_mod.{key}": value for key, value in t.items()},
    "DDP, compiled": lambda t: {f"_orig_mod.module.{key}": value for key, value in t.items()},
    "a tower compiled": lambda t: {key.replace("visual.", "visual._orig_mod."): value for key, value in t.items()},
    "Lightning": lambda t: {
        "state_dict": {f"model.{key}": v for key, v in t.items()},
        "pytorch-lightning_version": "2",
    },
    "Lightning, compiled": lambda t: {"state_dict": {f"model._orig_mod.{key}": value for key, value in t.items()}},
    "averaged": lambda t: {"n_averaged": torch.tensor(3), **prefixed(t)},
    "numbers beside weights": lambda t: {**t, "epoch": 3, 7: torch.ones(1)},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_wrapper_comes_off_and_no_bit_changes(wrapping: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(WRAPPINGS[wrapping](weights()), path, _use_new_zipfile_serialization=zipped)
    assert_equal(read_state_dict(path), weights())


def test_numpy_scalars_of_numpy_1_are_read(tmp_path: Path) -> None:
    """Their module was called numpy.core then; the names are the same length only in the older one's favour."""
    torch.save({"state_dict": weights(), **SCALARS}, tmp_path / "new.pt")
    old = tmp_path / "old.pt"
    with zipfile.ZipFile(tmp_path / "new.pt") as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("/data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(name, content)
    assert_equal(read_state_dict(old), weights())


def test_a_prefix_of_some_keys_is_part_of_their_names(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pt")
    assert read_state_dict(tmp_path / "w.pt").keys() == {"module.a", "b"}


def test_safetensors_are_read_where_they_are(tmp_path: Path, weights_cache: Path) -> None:
    save_file(prefixed(weights()), tmp_path / "w.safetensors")
    assert_equal(read_state_dict(tmp_path / "w.safetensors"), weights())
    assert not weights_cache.exists()


def test_a_bare_tensor_is_named_by_its_file_wherever_its_bytes_lie(tmp_path: Path) -> None:
    matrix = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    torch.save(matrix, tmp_path / "text_projection_layer.pth")
    (tmp_path / "copy.pth").write_bytes((tmp_path / "text_projection_layer.pth").read_bytes())
    assert_equal(read_state_dict(tmp_path / "text_projection_layer.pth"), {"text_projection_layer": matrix})
    assert_equal(read_state_dict(tmp_path / "copy.pth"), {"copy": matrix})


def test_shared_and_strided_tensors_each_get_their_own(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    torch.save({"tied": base, "same": base, "turned": base.T, "part": base[1:]}, tmp_path / "w.pt")
    found = read_state_dict(tmp_path / "w.pt")
    assert_equal(found, {"tied": base, "same": base, "turned": base.T, "part": base[1:]})
    found["tied"].zero_()
    assert torch.equal(found["same"], base)


def test_the_second_read_does_not_touch_the_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"state_dict": weights()}, tmp_path / "w.pt")
    first = read_state_dict(tmp_path / "w.pt")

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("the pickle was read again")

    monkeypatch.setattr(torch, "load", never)
    assert_equal(read_state_dict(tmp_path / "w.pt"), first)
    (tmp_path / "moved.pt").write_bytes((tmp_path / "w.pt").read_bytes())
    assert_equal(read_state_dict(tmp_path / "moved.pt"), first)


def test_other_content_under_the_same_name_is_read_anew(tmp_path: Path, weights_cache: Path) -> None:
    for value in (1.0, 2.0):
        torch.save({"w": torch.full((2,), value)}, tmp_path / "w.pt")
        assert_equal(read_state_dict(tmp_path / "w.pt"), {"w": torch.full((2,), value)})
    assert len(list(weights_cache.iterdir())) == 2


def test_a_conversion_that_is_interrupted_is_not_taken_for_one(
    tmp_path: Path, weights_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(weights(), tmp_path / "w.pt")
    seen: list[list[Path]] = []

    class Killed(BaseException):
        """As a kill is: nothing that is written to catch errors catches it."""

    def half_way(path: Path) -> Any:
        class Stream(io.FileIO):
            def write(self, content: Any) -> int:
                super().write(content[: len(content) // 2])
                seen.append(list(weights_cache.glob("*.safetensors")))
                raise Killed

        draft = draft_of(path)
        draft.parent.mkdir(parents=True)
        return Stream(draft, "w")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "atomic_file", half_way)
        with pytest.raises(Killed):
            read_state_dict(tmp_path / "w.pt")
    assert seen == [[]]
    assert len(list(weights_cache.iterdir())) == 1  # the draft
    assert_equal(read_state_dict(tmp_path / "w.pt"), weights())
    assert [path.name[:64] for path in weights_cache.glob("*.safetensors")] == [file_digest(tmp_path / "w.pt")]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(weights(), tmp_path / "w.pt")
    (tmp_path / "file").touch()
    monkeypatch.setenv("MMKD_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be kept as safetensors in .*; set \$MMKD_CACHE"):
        read_state_dict(tmp_path / "w.pt")


def parts(folder: Path, tensors: dict[str, Tensor]) -> Path:
    """A checkpoint in two files, as transformers writes it; returns its index."""
    names = {key: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, key in enumerate(tensors)}
    for name in set(names.values()):
        save_file({key: value for key, value in tensors.items() if names[key] == name}, folder / name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return index


def test_a_checkpoint_in_parts_is_read_by_its_index(tmp_path: Path) -> None:
    index = parts(tmp_path, prefixed(weights()))
    assert_equal(read_state_dict(index), weights())
    check_header(index)
    with pytest.raises(ModelError, match="one part of a checkpoint in several; name its index"):
        refuse_lone_part(tmp_path / "model-00001-of-00002.safetensors")
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"its part model-00002-of-00002\.safetensors is missing"):
        read_state_dict(index)


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "x.index.json", 3, "deep/x.safetensors"])
def test_a_part_lies_beside_its_index(tmp_path: Path, name: object) -> None:
    index = tmp_path / "x.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelError, match="expected the name of a file beside it"):
        read_state_dict(index)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_an_index_holds_it_is_refused(tmp_path: Path, content: object) -> None:
    index = tmp_path / "y.index.json"
    index.write_text(json.dumps({"weight_map": content}))
    if content != {}:
        with pytest.raises(ModelError, match="index"):
            read_state_dict(index)
