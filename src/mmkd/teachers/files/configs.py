"""What a config out of a model folder may say. Nothing of a folder is executed, and no key of it reaches a library call
unless the library's own class for such configs declares it.

A folder is one on disk or the snapshot of a hub's repository: both are downloads, and neither is trusted.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from open_clip.coca_model import MultimodalCfg
from open_clip.model import CLIPTextCfg, CLIPVisionCfg

from mmkd.errors import ModelError
from mmkd.folders.regular import irregular
from mmkd.folders.sums import check_sums
from mmkd.output import announce_hub

MODEL_KEYS = {
    *("embed_dim", "vision_cfg", "text_cfg", "multimodal_cfg", "quick_gelu", "custom_text"),
    *("init_logit_scale", "init_logit_bias", "nonscalar_logit_scale"),
}
PARTS: dict[str, Any] = {"vision_cfg": CLIPVisionCfg, "text_cfg": CLIPTextCfg, "multimodal_cfg": MultimodalCfg}
NESTED = {  # tables inside a part, whose keys open_clip hands on as keyword arguments
    "tokenizer_kwargs": {"clean", "strip_sep_token", "language"},
    "act_kwargs": {"approximate", "inplace"},
    "norm_kwargs": {"eps", "elementwise_affine", "bias"},
}
DESCRIPTIONS = ("*.json", "*.txt", "*.model")  # what is fetched of a repository beside its weights; never a program
CODE = {"auto_map", "trust_remote_code", "custom_pipelines", "custom_generate", "custom_object_save"}
PROGRAMS = {"word_tokenizer_type", "mecab_kwargs", "sudachi_kwargs", "jumanpp_kwargs"}  # tokenizers that start others'
KERNELS = {"attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation"}
FOREIGN_FILES = ("adapter_config.json",)  # makes transformers load another repository's weights on top
FOREIGN_TYPES = ("timm_wrapper", "timm_backbone")  # name a network that timm fetches
LEGACY = {"text_config_dict", "vision_config_dict", "dtype", "torch_dtype", "rope_theta", "rope_scaling"}
TIMM_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")


@contextmanager
def nobody_is_asked() -> Iterator[None]:
    """transformers asks standard input whether to run a folder's code, unless the time for an answer is 0."""
    from transformers import dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before


def checked_open_clip(config: Mapping[str, Any]) -> None:
    """Raise ValueError for a `model_cfg` with a key that open_clip's classes do not declare, or a name to fetch."""
    _only(config, MODEL_KEYS, "model_cfg")
    for part, kind in PARTS.items():
        table = config.get(part) or {}
        _only(table, {one.name for one in fields(kind)}, f"model_cfg.{part}")
        for name, allowed in NESTED.items():
            _only(table.get(name) or {}, allowed, f"model_cfg.{part}.{name}")
    name = config.get("vision_cfg", {}).get("timm_model_name")
    if name and not TIMM_NAME.fullmatch(str(name)):
        raise ValueError(
            f"model_cfg.vision_cfg.timm_model_name is {name!r}; expected the name of a network that timm has itself"
        )


def _only(table: Any, allowed: set[str], place: str) -> None:
    if not isinstance(table, Mapping):
        raise ValueError(f"{place}: expected a table, found {table!r}")
    if strangers := sorted(set(table) - allowed):
        raise ValueError(
            f"{place}.{strangers[0]} is no key that is passed on (they are {', '.join(sorted(allowed))}); take it out"
        )


def model_folder(name: str, revision: str | None = None) -> Path:
    """The folder of that path, or the descriptions of that repository of the hub, none of which asks to run code.

    Raises ModelError as `check_sums` and `refuse_code`, and what the hub's client raises.
    """
    folder = Path(name)
    if folder.is_dir():
        check_sums(folder)
    else:
        from huggingface_hub import snapshot_download

        announce_hub(name)
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(DESCRIPTIONS)))
    refuse_code(folder)
    return folder


def refuse_code(folder: Path) -> None:
    """Raise ModelError that names the file and the key by which a model folder asks for code or programs to be run, and
    for pipes and devices in it, which libraries would wait for."""
    for name in FOREIGN_FILES:
        if (folder / name).exists():
            raise ModelError(
                f"{folder / name}: loads the weights of another model on top; merge them, and take the file out"
            )
    for path in sorted(folder.iterdir()):
        if kind := irregular(path):
            raise ModelError(f"{path}: {kind}; expected the files of a model; fetch it again")
    for path in sorted(folder.glob("*config.json")):
        described = read_json(path)
        for place, key, value in _keys(described):
            if key in CODE | PROGRAMS and value not in (None, False, {}, []):
                shown = repr(value) if len(repr(value)) < 80 else "..."
                raise ModelError(
                    f"{path}: key {place!r} asks for code to be run ({shown}); nothing of a model folder is executed. "
                    "Where the library has this model itself, take the key out"
                )
            if key in KERNELS and isinstance(value, str | Mapping) and "/" in str(value):
                raise ModelError(f"{path}: key {place!r} names a program to fetch ({value!r}); take it out")


def read_json(path: Path) -> dict[str, Any]:
    """A table. Raises ModelError for anything else."""
    if kind := irregular(path):
        raise ModelError(f"{path}: {kind}; expected a file; fetch it again")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a readable JSON file ({error}); fetch it again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: expected a JSON table, found a {type(found).__name__}; fetch it again")
    return found


def _keys(table: Any, place: str = "") -> Iterator[tuple[str, str, Any]]:
    """(place, key, value) of every key, however deep."""
    inner = table.items() if isinstance(table, Mapping) else enumerate(table) if isinstance(table, list) else ()
    for key, value in inner:
        yield f"{place}{key}", str(key), value
        yield from _keys(value, f"{place}{key}.")


def transformers_config(folder: Path) -> Any:
    """The config object of a checked folder's `config.json`, of those keys only that its class declares.

    Raises ModelError for a type of model that transformers does not have itself.
    """
    path = folder / "config.json"
    described = read_json(path)
    return _config_class(str(described.get("model_type")), path)(**_declared(described, path))


def _config_class(model_type: str, path: Path) -> Any:
    from transformers import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING or model_type in FOREIGN_TYPES:
        raise ModelError(f"{path}: model_type {model_type!r} is none that transformers builds itself; it is not loaded")
    return CONFIG_MAPPING[model_type]


def _declared(described: Mapping[str, Any], path: Path, kind: Any = None) -> dict[str, Any]:
    kind = kind or _config_class(str(described.get("model_type")), path)
    known = {one.name for one in fields(kind)} if is_dataclass(kind) else set()
    known |= {*kind.attribute_map, *kind.sub_configs, *LEGACY}
    kept = {key: value for key, value in described.items() if key in known}
    for part, value in kept.items():
        if isinstance(value, Mapping) and part in kind.sub_configs:
            declared = getattr(kind.sub_configs[part], "config_class", kind.sub_configs[part])
            by_name = declared if hasattr(declared, "model_type") else None
            inner = _declared(value, path, by_name)
            kept[part] = inner if by_name else {**inner, "model_type": value.get("model_type")}
    return kept
