"""Models as open_clip folders: `open_clip_config.json`, `open_clip_model.safetensors`, tokenizer files.

The student is saved so, and teachers are read so; `open_clip.create_model_from_pretrained("local-dir:FOLDER")` opens
the same folders. A BERT text tower needs its Hugging Face `config.json` too: it is kept in the folder.
"""

import contextlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import save as to_bytes

from mmkd.errors import ConfigError, ModelError
from mmkd.folders.atomic import atomic_file, write_json
from mmkd.teachers.files.identity import WEIGHTS_PATTERNS

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
Tokenizer = Callable[[Sequence[str]], torch.Tensor]  # captions -> token ids (B, L)


@dataclass
class OpenClipModel:
    """A model and what belongs to it. config: open_clip's `model_cfg`; preprocess: open_clip's `preprocess_cfg`."""

    network: torch.nn.Module
    tokenizer: Tokenizer
    config: dict[str, Any]
    preprocess: dict[str, Any]

    @property
    def dim(self) -> int:
        return int(self.config["embed_dim"])

    @property
    def transform(self) -> Callable[..., torch.Tensor]:
        """open_clip's own inference transform: PIL image -> normalised (3, S, S)."""
        transform: Callable[..., torch.Tensor] = image_transform_v2(PreprocessCfg(**self.preprocess), is_train=False)
        return transform


def architecture(name: str) -> dict[str, Any]:
    """The `model_cfg` of one of open_clip's built-in architectures. Raises ConfigError with near names."""
    config = open_clip.get_model_config(name)
    if config is None:
        import difflib

        near = difflib.get_close_matches(name, open_clip.list_models(), n=3)
        raise ConfigError(f"open_clip has no architecture {name!r}; did you mean {', '.join(near) or 'another one'}?")
    return deepcopy(dict(config))


def build(
    config: Mapping[str, Any],
    preprocess: Mapping[str, Any] | None = None,
    tokenizer_folder: Path | None = None,
    pretrained_towers: bool = False,
) -> OpenClipModel:
    """A model with random weights (or the towers' own pretrained ones) from a `model_cfg`.

    tokenizer_folder: Hugging Face tokenizer files for a config whose text_cfg names an `hf_tokenizer_name`.
    Raises ConfigError when open_clip cannot make a model of the config.
    """
    model_cfg = deepcopy(dict(config))
    if tokenizer_folder is not None:
        model_cfg.setdefault("text_cfg", {})["hf_tokenizer_name"] = str(tokenizer_folder)
    network = build_network(model_cfg, preprocess, pretrained_towers)
    return OpenClipModel(network, _tokenizer(model_cfg), model_cfg, dict(network.visual.preprocess_cfg))


def build_network(
    config: Mapping[str, Any], preprocess: Mapping[str, Any] | None = None, pretrained_towers: bool = False
) -> Any:
    """The network of a `model_cfg`, without a tokenizer. Raises ConfigError when open_clip cannot make one of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_json(folder / CONFIG, {"model_cfg": dict(config), "preprocess_cfg": dict(preprocess or {})})
        try:
            with _quiet():
                return open_clip.create_model(
                    f"local-dir:{folder}",
                    load_weights=False,
                    pretrained_image=pretrained_towers,
                    pretrained_text=pretrained_towers,
                    device=torch.get_default_device(),
                )
        except (RuntimeError, TypeError, ValueError, OSError, KeyError) as error:
            raise ConfigError(f"open_clip cannot build a model from this config: {error}") from error


def load(folder: Path) -> OpenClipModel:
    """The model in a folder with its weights, in evaluation mode. Raises ModelError when a part is missing or wrong."""
    described = read_config(folder)
    config = described["model_cfg"] | wherever_it_lies(described["model_cfg"], folder)
    try:
        with _quiet():
            network, _ = open_clip.create_model_from_pretrained(
                f"local-dir:{folder}", **wherever_it_lies(config, folder)
            )
            tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    except Exception as error:  # open_clip, transformers and safetensors raise whatever they like on bad files
        raise ModelError(f"{folder}: the open_clip folder does not load: {error}") from error
    return OpenClipModel(network.eval(), tokenizer, config, dict(network.visual.preprocess_cfg))


def wherever_it_lies(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Keyword arguments with which open_clip opens a folder whose BERT config names another place; {} for others."""
    if "hf_model_name" not in config["text_cfg"] or not (folder / "config.json").is_file():
        return {}
    return {"text_cfg": {**config["text_cfg"], "hf_model_name": str(folder), "hf_model_pretrained": False}}


def save(
    model: OpenClipModel, folder: Path, home: Path | None = None, weights: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Write the model as an open_clip folder; weights as safetensors, the config last.

    weights: others than the network has now. home: where the folder will stand in the end, for configs of BERT towers,
    which open_clip wants as an absolute path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = deepcopy(model.config)
    text = config["text_cfg"]
    if hasattr(model.tokenizer, "save_pretrained"):
        _save_tokenizer(model.tokenizer, folder)
        text["hf_tokenizer_name"] = text["hf_tokenizer_name"] if _is_hub_id(text["hf_tokenizer_name"]) else "."
    if "hf_model_name" in text and not _is_hub_id(text["hf_model_name"]):
        source = Path(text["hf_model_name"]) / "config.json"
        if source.resolve() != (folder / "config.json").resolve():
            shutil.copyfile(source, folder / "config.json")
        text["hf_model_name"] = str((home or folder).resolve())
    state = model.network.state_dict() if weights is None else weights
    tensors = {name: value.detach().contiguous().cpu() for name, value in state.items()}
    with atomic_file(folder / WEIGHTS) as stream:
        stream.write(to_bytes(tensors))
    write_json(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": model.preprocess})


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """As it was made: a fast tokenizer keeps how it cut and padded last, which is no part of it."""
    backend = getattr(tokenizer.tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    tokenizer.save_pretrained(folder)


def read_config(folder: Path) -> dict[str, Any]:
    """`model_cfg` and `preprocess_cfg` of a model folder. Raises ModelError when they or the weights are missing."""
    path = folder / CONFIG
    if not path.is_file():
        raise ModelError(f"{folder}: no {CONFIG} found; expected an open_clip model folder")
    try:
        described: dict[str, Any] = json.loads(path.read_text())
        _ = described["model_cfg"]["embed_dim"], described["model_cfg"]["text_cfg"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not an open_clip config ({error!r}); expected model_cfg with embed_dim") from error
    weights_file(folder)
    return described


def weights_file(folder: Path) -> Path:
    """The file that open_clip loads the weights from. Raises ModelError when there is none."""
    for pattern in (WEIGHTS, "open_clip_*.safetensors", "open_clip_*.bin", *WEIGHTS_PATTERNS):
        if found := sorted(folder.glob(pattern)):
            return found[0]
    raise ModelError(f"{folder}: no weights found; expected {WEIGHTS}")


def _tokenizer(config: Mapping[str, Any]) -> Any:
    text = config["text_cfg"]
    length = text.get("context_length", 77)
    if source := text.get("hf_tokenizer_name"):
        return hf_tokenizer(source, length, **text.get("tokenizer_kwargs", {}))
    return open_clip.SimpleTokenizer(context_length=length)


def hf_tokenizer(source: str, context_length: int, **settings: Any) -> Any:
    """A Hugging Face tokenizer behind open_clip's cleaning. Raises ConfigError when it does not load."""
    try:
        with _quiet():
            return open_clip.tokenizer.HFTokenizer(source, context_length=context_length, **settings)
    except (OSError, ValueError) as error:
        raise ConfigError(f"tokenizer {source!r} does not load ({error}); give a folder or cached hub id") from error


def _is_hub_id(name: str) -> bool:
    return not Path(name).exists() and name.count("/") <= 1 and not name.startswith((".", "/"))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """open_clip reports every intended choice (random weights, say) as a warning on the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
