"""Weights from outside, read without running anything they contain.

safetensors are read as they are. Pickles are read with `weights_only=True` and a list of NumPy's scalar types, which
training scripts leave in them; then their tensors are kept once as safetensors, and only those are read from then on.
"""

import json
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar  # NumPy gives it no public name
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from mmkd.errors import ModelError
from mmkd.folders.atomic import atomic_file
from mmkd.folders.digests import CACHE, cache_root
from mmkd.folders.regular import irregular
from mmkd.teachers.files.identity import file_digest

StateDict = dict[str, Tensor]
CONVERSION = 2  # part of the names of kept files: raise it when the same pickle is to give other tensors
WRAPPERS = ("state_dict", "model_state_dict", "model")
COMPILED = "_orig_mod."  # torch.compile writes it wherever a compiled module stands
PREFIXES = ("module.", "model.")  # of DDP and of Lightning, around all weights
COUNTERS = ("n_averaged",)  # of torch's AveragedModel, beside the weights
INDEX = ".index.json"  # of a checkpoint in several files: which of them has which tensor
PART = re.compile(r"-\d{5}-of-\d{5}\.")
BARE = "(the file's only tensor)"  # its name where it is kept: the same bytes may lie under other file names
ALLOWED: list[Any] = [
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
]


def read_state_dict(path: Path) -> StateDict:
    """The tensors of a checkpoint, on the CPU, without a wrapper (`state_dict`) and the prefixes of PREFIXES, COMPILED.

    path: of the file, or of the index of several. A bare tensor is returned under the name of its file, without the
    suffix. Raises ModelError for a file that is no checkpoint, that would run code, or that holds no tensors.
    """
    _refuse_irregular(path)
    if path.name.endswith(INDEX):
        return {key: value for part in _parts(path) for key, value in read_state_dict(part).items()}
    if path.suffix == ".safetensors":
        return _unprefixed(_safetensors(path))
    kept = cache_folder() / f"{file_digest(path)}-{CONVERSION}.safetensors"
    if not kept.is_file():
        _keep(_tensors(_unpickled(path), path), path, kept)
    return {path.stem if key == BARE else key: value for key, value in _safetensors(kept).items()}


def cache_folder() -> Path:
    """Where converted weights are kept."""
    return cache_root() / "weights"


def refuse_lone_part(path: Path) -> None:
    """Raise ModelError for one file of a checkpoint in several, which would leave most weights out."""
    if PART.search(path.name):
        raise ModelError(f"{path}: one part of a checkpoint in several; name its index (*{INDEX}), or fetch it as well")


def check_header(path: Path) -> None:
    """Raise ModelError for a file that is cut off, damaged or no checkpoint, as far as its beginning and size say."""
    _refuse_irregular(path)
    if path.name.endswith(INDEX):
        for part in _parts(path):
            check_header(part)
        return
    if path.suffix != ".safetensors":
        _is_zip(path)
        return
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error}); delete it and fetch it again") from error


def _refuse_irregular(path: Path) -> None:
    if kind := irregular(path):
        raise ModelError(f"{path}: {kind}; expected a file of weights")


def _parts(index: Path) -> list[Path]:
    """The files of a checkpoint in parts, which lie beside their index. Raises ModelError for one that is not there."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{index}: not the index of a checkpoint ({error!r}); fetch it again") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or name.endswith(INDEX):
            raise ModelError(f"{index}: names the part {name!r}; expected the name of a file beside it")
        if not os.path.isfile(index.parent / name):  # Path.is_file() raises for names that are too long
            raise ModelError(f"{index}: its part {name} is missing; fetch it as well")
    return [index.parent / name for name in names]


def _safetensors(path: Path) -> StateDict:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error}); delete it and fetch it again") from error


def _unpickled(path: Path) -> Any:
    is_zip = _is_zip(path)
    with torch.serialization.safe_globals(ALLOWED):
        try:
            # only zip files can be mapped: of a file with optimiser states, just the weights are then read
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        except Exception as error:  # of a damaged file torch raises whatever it stumbles on
            if is_zip and (calls := _calls(path)):
                raise ModelError(
                    f"{path}: holds more than weights ({', '.join(calls)}), and loading it could run code; it is not "
                    "loaded. Where you trust it, convert its tensors to safetensors yourself"
                ) from error
            raise ModelError(
                f"{path}: damaged or cut off, or it holds more than weights, and loading it could run code; it is not "
                "loaded. Fetch it again, or take safetensors"
            ) from error


def _calls(path: Path) -> list[str]:
    """What the pickle in a zip file wants to call beyond tensors, told without calling it."""
    try:
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # as above
        return []


def _is_zip(path: Path) -> bool:
    """Whether it is of torch's newer format. Raises ModelError that says what a file is that is of neither."""
    with path.open("rb") as stream:
        start = stream.read(40)
    if start.startswith(b"PK"):
        members = _members(path)
        if any(name.endswith("/constants.pkl") for name in members):
            raise ModelError(f"{path}: a TorchScript archive, which is a program; save its state_dict as safetensors")
        if not any(name.endswith("/data.pkl") for name in members):
            shown = ", ".join(members[:3])
            raise ModelError(f"{path}: a zip archive, but no checkpoint (it holds {shown}); unpack it")
        return True
    if not start.startswith(b"\x80"):  # as pickles do
        raise ModelError(
            f"{path}: not a checkpoint; it begins {start!r} (a web page or a git-lfs pointer in its place?); "
            "fetch it again"
        )
    return False


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception as error:  # zipfile, too, stumbles on damaged files in many ways
        raise ModelError(f"{path}: a checkpoint that is cut off or damaged; delete it and fetch it again") from error


def _tensors(found: Any, path: Path) -> StateDict:
    if isinstance(found, Tensor):
        return {BARE: found}
    found = _unwrapped(found)
    named = found.items() if isinstance(found, Mapping) else ()
    tensors = {key: value for key, value in named if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        keys = f" with {', '.join(map(repr, list(found)[:4]))}" if isinstance(found, Mapping) and found else ""
        raise ModelError(f"{path}: expected a state dict of tensors, found a {type(found).__name__}{keys}")
    if odd := [key for key, value in tensors.items() if value.layout != torch.strided or value.is_quantized]:
        raise ModelError(f"{path}: {odd[0]} is sparse or quantised; expected plain tensors")
    return _unprefixed(tensors)


def _unwrapped(found: Any) -> Any:
    while isinstance(found, Mapping):
        inner = [found[name] for name in WRAPPERS if isinstance(found.get(name), Mapping)]
        if not inner:
            break
        found = inner[0]
    return found


def _unprefixed(tensors: StateDict) -> StateDict:
    plain = {key.replace(COMPILED, ""): value for key, value in tensors.items()}
    weights = {key: value for key, value in plain.items() if key not in COUNTERS}
    for prefix in PREFIXES:
        if weights and all(key.startswith(prefix) for key in weights):
            return _unprefixed({key.removeprefix(prefix): value for key, value in weights.items()})
    return plain


def _keep(tensors: StateDict, path: Path, kept: Path) -> None:
    # safetensors wants every tensor contiguous and in a storage of its own
    content = to_bytes({key: value.detach().contiguous().clone() for key, value in tensors.items()})
    try:
        with atomic_file(kept) as stream:
            stream.write(content)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be kept as safetensors in {kept.parent} ({error.strerror}); "
            f"set ${CACHE} to a folder with {len(content) / 1e9:.1f} GB of room"
        ) from error
