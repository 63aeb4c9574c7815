"""The student: any open_clip architecture, by name, by its config, or with the weights it starts from."""

import difflib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model
from open_clip.transform import PreprocessCfg

from mmkd.errors import ConfigError, ModelError
from mmkd.randomness import Purpose, seed_of
from mmkd.student.settings import StudentSettings
from mmkd.teachers.adapters.open_clip import model_config
from mmkd.teachers.files.locate import find_weights
from mmkd.teachers.files.open_clip_folder import (
    OpenClipModel,
    architecture,
    build,
    fetch,
    fill,
    read_config,
    weights_file,
    wherever_it_lies,
)
from mmkd.teachers.zoo.entry import zoo_entry
from mmkd.teachers.zoo.settings import HUB, LOCAL

FIRST_SCALE = 14.3  # 1 / .07, CLIP's


@dataclass(frozen=True)
class Start:
    """config: `model_cfg`. preprocess: `preprocess_cfg`, what is not open_clip's default. tokenizer: its folder.

    weights: a file, None for random ones. named: the setting that asks for them, for messages.
    """

    config: dict[str, Any]
    preprocess: dict[str, Any]
    tokenizer: Path | None = None
    weights: Path | None = None
    named: str = ""


def start_of(settings: StudentSettings) -> Start:
    """What the settings ask for. Raises ConfigError or ModelError as `build_student`."""
    named = f"student.pretrained {settings.pretrained!r}"
    if settings.pretrained is None:
        found = Start(_own_config(settings), {}, None, settings.weights, "student.weights")
    else:
        found = (_from_repository if settings.from_repository else _from_tag)(settings, named)
    given = {name: getattr(settings, name) for name in ("mean", "std", "resize_mode")}
    return Start(
        _resized(found.config, settings),
        found.preprocess | {name: value for name, value in given.items() if value is not None},
        settings.tokenizer or found.tokenizer,
        found.weights,
        found.named,
    )


def _from_tag(settings: StudentSettings, named: str) -> Start:
    name, tag = settings.model or "", settings.pretrained or ""
    config, facts = architecture(name), get_pretrained_cfg(name, tag)
    if not facts:
        known = list_pretrained_tags_by_model(name)
        near = ", ".join(difflib.get_close_matches(tag, known, n=3) or known) or "none"
        raise ConfigError(
            f"{named} is no tag of {name}; open_clip has {near}. For a file set weights, for a repository or folder "
            f"write '{HUB}...' or '{LOCAL}...'"
        )
    try:
        weights = Path(download_pretrained(facts))
    except Exception as error:  # network, hub and file errors of three libraries
        raise ModelError(f"{named} cannot be fetched: {error}") from error
    config["quick_gelu"] = facts.get("quick_gelu", False)  # the weights' own activation, whatever the name says
    return Start(config, _transform(facts), None, weights, named)


def _from_repository(settings: StudentSettings, named: str) -> Start:
    source = settings.pretrained or ""
    if settings.from_zoo:
        found, weights = _in_the_zoo(source, named)
        config, tokenizer = found["model_cfg"], None
    elif source.startswith(LOCAL):
        folder = Path(source.removeprefix(LOCAL))
        found, weights = read_config(folder), weights_file(folder)
        config = found["model_cfg"] | wherever_it_lies(found["model_cfg"], folder)
        tokenizer = folder if "hf_tokenizer_name" in config["text_cfg"] else None
    else:
        try:
            found, weights = fetch(source.removeprefix(HUB))
        except Exception as error:  # network, hub and file errors of three libraries
            raise ModelError(f"{named} cannot be fetched: {error}") from error
        config, tokenizer = found["model_cfg"], None
    if settings.model is not None or settings.config is not None:
        config, tokenizer = _own_config(settings), None
    return Start(config, _transform(found.get("preprocess_cfg") or {}), tokenizer, weights, named)


def _in_the_zoo(name: str, named: str) -> tuple[dict[str, Any], Path]:
    """The same of a teacher. Raises ConfigError for one that open_clip does not build from its file as it is."""
    entry = zoo_entry(name)
    files = find_weights(entry, None) if entry.adapter == "open_clip" and entry.layout == "plain" else None
    if files is None or len(files.paths) > 1:
        raise ConfigError(
            f"{named} is read by a way of its own ({entry.adapter}, layout {entry.layout!r}), and a student is an "
            f"open_clip model; take one of open_clip's, '{HUB}...' or '{LOCAL}...', and this one as a teacher"
        )
    return {"model_cfg": model_config(entry), "preprocess_cfg": entry.preprocess}, files.paths[0]


def _own_config(settings: StudentSettings) -> dict[str, Any]:
    if settings.model is not None:
        return architecture(settings.model)
    if not isinstance(settings.config, Path):
        return dict(settings.config or {})
    try:
        found = json.loads(settings.config.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"student.config {settings.config}: not a readable JSON file ({error})") from error
    return dict(found.get("model_cfg", found))


def _resized(config: Mapping[str, Any], settings: StudentSettings) -> dict[str, Any]:
    """With the image size and the context that the settings want instead."""
    changed: dict[str, Any] = deepcopy(dict(config))
    for table, key, value in (
        ("vision_cfg", "image_size", settings.image_size),
        ("text_cfg", "context_length", settings.context_length),
    ):
        if value is not None:
            changed[table] = {**changed.get(table, {}), key: value}
    return changed


def _transform(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The transform that weights were trained with; its size is the architecture's."""
    names = {field.name for field in fields(PreprocessCfg)} - {"size"}
    return {name: value for name, value in facts.items() if name in names and value is not None}


def build_student(settings: StudentSettings, seed: int) -> OpenClipModel:
    """The student before stage 1. Equal seeds give equal weights; torch's global generator is left as it was.

    Raises ConfigError for an architecture or a tag that open_clip does not know, ModelError for weights that cannot be
    had or do not fit.
    """
    start = start_of(settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, Purpose.STUDENT_WEIGHTS))
        model = build(start.config, start.preprocess, start.tokenizer, settings.pretrained_towers)
    if start.weights is not None:
        try:
            fill(model.network, start.weights)  # positions are interpolated where image size or context is another
        except Exception as error:  # torch, pickle and key errors alike mean that the file does not fit
            what = f"{start.named}: {start.weights}"
            raise ModelError(f"{what} does not load into this architecture: {error}") from error
    if start.weights is None or settings.init_scale is not None:
        scale: Any = model.network.logit_scale
        with torch.no_grad():
            scale.fill_(torch.tensor(settings.init_scale or FIRST_SCALE).log())
    return model
