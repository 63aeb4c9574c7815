"""Models as open_clip folders: `open_clip_config.json`, `open_clip_model.safetensors`, tokenizer files.

The student is saved so, and teachers are read so; `open_clip.create_model_from_pretrained("local-dir:FOLDER")` opens
the same folders. A BERT text tower needs its Hugging Face `config.json` too: it is kept in the folder.
"""

import contextlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import download_pretrained_from_hf
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import save as to_bytes

from mmkd.errors import ConfigError, ModelError
from mmkd.folders.atomic import atomic_file, write_json
from mmkd.folders.sums import check_sums
from mmkd.teachers.files.checkpoint import INDEX, StateDict, read_state_dict, refuse_lone_part
from mmkd.teachers.files.configs import (
    checked_open_clip,
    model_folder,
    nobody_is_asked,
    read_json,
    refuse_code,
    transformers_config,
)
from mmkd.teachers.files.identity import WEIGHTS_PATTERNS
from mmkd.teachers.files.layouts import load_strictly, plain

CANNOT_BUILD = "open_clip cannot build a model from this config"
CONFIG = "open_clip_config.json"
BERT = "bert"  # where an export, whose `config.json` is another, keeps the description of its BERT
WEIGHTS = "open_clip_model.safetensors"
PREFERRED = ("open_clip_*.safetensors", "open_clip_*.bin")
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


def _cleaned(config: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], str]:
    """The keys of a `model_cfg` that may be passed on. Raises ConfigError for others."""
    try:
        checked_open_clip(config)
        return _with_clean_bert(config, folder)
    except (TypeError, ValueError, KeyError, ModelError) as error:
        raise ConfigError(f"{CANNOT_BUILD}: {error}") from error


def build_network(
    config: Mapping[str, Any], preprocess: Mapping[str, Any] | None = None, pretrained_towers: bool = False
) -> Any:
    """The network of a `model_cfg`, without a tokenizer. Raises ConfigError when open_clip cannot make one of it.

    Only keys that open_clip's classes declare are passed on, and of a BERT's config only those of its own class.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model_cfg, bert = _cleaned(config, folder)
        write_json(folder / CONFIG, {"model_cfg": model_cfg, "preprocess_cfg": dict(preprocess or {})})
        try:
            with _quiet():
                network = open_clip.create_model(
                    f"local-dir:{folder}",
                    load_weights=False,
                    pretrained_image=pretrained_towers,
                    pretrained_text=False,
                    device=torch.get_default_device(),
                )
                if bert and pretrained_towers:
                    _pretrained_bert(network.text, bert)
        except (
            Exception
        ) as error:  # open_clip, timm and transformers raise whatever a wrong value makes them stumble on
            raise ConfigError(f"{CANNOT_BUILD}: {error}") from error
    _check_context(network, config["text_cfg"])
    return network


def _with_clean_bert(config: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], str]:
    """The config with its BERT's place changed to a clean copy of its description in the folder; the place it had."""
    model_cfg = deepcopy(dict(config))
    text = model_cfg.get("text_cfg", {})
    bert = str(text.get("hf_model_name") or "")
    if bert:
        transformers_config(model_folder(bert)).save_pretrained(folder)
        text["hf_model_name"] = str(folder)
    return model_cfg, bert


def _pretrained_bert(text: Any, bert: str) -> None:
    """Fill a text tower with its own pretrained weights."""
    from transformers import AutoModel

    pooler = {} if text.config.is_encoder_decoder else {"add_pooling_layer": _pools(text)}
    found = AutoModel.from_pretrained(bert, config=text.config, trust_remote_code=False, weights_only=True, **pooler)
    text.transformer = found.encoder if text.config.is_encoder_decoder else found


def _pools(text: Any) -> bool:
    return getattr(text.transformer, "pooler", None) is not None


def positions_of(text: torch.nn.Module) -> int | None:
    """How many tokens a BERT-like tower has positions for; None where it has no table of them.

    RoBERTa and its kind count from behind the padding's number: of 514 positions, 512 are left.
    """
    for name, module in text.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None


def _check_context(network: Any, text_cfg: Mapping[str, Any]) -> None:
    length = text_cfg.get("context_length", 77)
    room = positions_of(network.text.transformer) if "hf_model_name" in text_cfg else None
    if room is not None and length > room:
        raise ConfigError(
            f"text_cfg.context_length is {length}, but the text tower has positions for {room} tokens; "
            f"set it to {room} or fewer"
        )


def load(folder: Path) -> OpenClipModel:
    """The model in a folder with its weights, in evaluation mode. Raises ModelError when a part is missing or wrong."""
    described = read_config(folder)
    config = described["model_cfg"] | wherever_it_lies(described["model_cfg"], folder)
    try:
        return assembled(config, described.get("preprocess_cfg") or {}, weights_file(folder), folder)
    except Exception as error:  # open_clip, transformers and safetensors raise whatever they like on bad files
        raise ModelError(f"{folder}: the open_clip folder does not load: {error}") from error


def assembled(
    config: Mapping[str, Any], preprocess: Mapping[str, Any], weights: Path, words: Path | None = None
) -> OpenClipModel:
    """A model of a `model_cfg`, with weights, in evaluation mode. words: the folder of its tokenizer, if it has one."""
    network = build_network(config, preprocess)
    fill(network, weights)
    tokenizer = _tokenizer(config, words)
    return OpenClipModel(network.eval(), tokenizer, dict(config), dict(network.visual.preprocess_cfg))


def assembled_from_hub(repository: str) -> OpenClipModel:
    """The model of a repository of the Hugging Face hub, or of its local cache; raises what `assembled` does."""
    described, weights = fetch(repository)
    return assembled(described["model_cfg"], described.get("preprocess_cfg") or {}, weights)


def built_in(name: str, pretrained: str) -> OpenClipModel:
    """One of open_clip's own architectures with a tag of its published weights, or with a file."""
    if Path(pretrained).is_file() and not open_clip.pretrained.is_pretrained_cfg(name, pretrained):
        return assembled(architecture(name), {}, Path(pretrained))
    with _quiet():
        network, _ = open_clip.create_model_from_pretrained(name, pretrained=pretrained)
        tokenizer = open_clip.get_tokenizer(name)
    return OpenClipModel(network.eval(), tokenizer, architecture(name), dict(network.visual.preprocess_cfg))


def fetch(repository: str) -> tuple[dict[str, Any], Path]:
    """The config and the weights file of a repository of the Hugging Face hub, or of its local cache.

    Raises ModelError for a config that is none, and what the hub's client raises.
    """
    path = Path(download_pretrained_from_hf(repository, filename=CONFIG))
    refuse_code(path.parent)
    return _config_in(path), Path(download_pretrained_from_hf(repository))


def fill(network: Any, path: Path) -> None:
    """Every weight of the network from a file, in open_clip's layout or one that it converts.

    Positions are interpolated where the image size or the context is another. Raises ModelError when it does not fit.
    """
    if path.suffix in (".npz", ".npy"):  # big_vision's arrays
        from open_clip.factory import load_checkpoint

        load_checkpoint(network, str(path))
        return
    refuse_lone_part(path)  # a student may name a file itself
    load_strictly(network, _converted(network, plain(read_state_dict(path))), str(path))


def _converted(network: Any, tensors: StateDict) -> StateDict:
    """As open_clip's own `load_checkpoint` does it between reading and filling."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

    tensors = convert_state_dict(network, tensors)
    if "positional_embedding" in tensors and not hasattr(network, "positional_embedding"):
        tensors = convert_to_custom_text_state_dict(tensors)
    if network.logit_bias is not None and "logit_bias" not in tensors:
        tensors["logit_bias"] = torch.zeros_like(network.logit_bias)
    resize_pos_embed(tensors, network)
    resize_text_pos_embed(tensors, network)
    return dict(tensors)


def wherever_it_lies(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Keyword arguments with which open_clip opens a folder whose BERT config names another place; {} for others."""
    found = next((one for one in (folder / BERT, folder) if (one / "config.json").is_file()), None)
    if "hf_model_name" not in config["text_cfg"] or found is None:
        return {}
    return {"text_cfg": {**config["text_cfg"], "hf_model_name": str(found), "hf_model_pretrained": False}}


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
    """As it was made: a fast tokenizer keeps how it cut and padded last, and whence it came; both are no part of it."""
    for name in ("is_local", "local_files_only"):
        tokenizer.tokenizer.init_kwargs.pop(name, None)
    backend = getattr(tokenizer.tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    try:
        tokenizer.save_pretrained(folder)
    except Exception as error:  # its library wraps what the system says into an error of its own
        if found := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(folder)) from error
        raise


def read_config(folder: Path) -> dict[str, Any]:
    """`model_cfg` and `preprocess_cfg` of a model folder. Raises ModelError when they or the weights are missing, and
    for a file that is not the one in the folder's list of sums."""
    path = folder / CONFIG
    if not path.is_file():
        raise ModelError(f"{folder}: no {CONFIG} found; expected an open_clip model folder")
    check_sums(folder)
    refuse_code(folder)
    described = _config_in(path)
    weights_file(folder)
    return described


def _config_in(path: Path) -> dict[str, Any]:
    described = read_json(path)
    try:
        _ = described["model_cfg"]["embed_dim"], described["model_cfg"]["text_cfg"]
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path}: not an open_clip config ({error!r}); expected model_cfg with embed_dim") from error
    return described


def weights_file(folder: Path) -> Path:
    """The file that the weights are in, the index of several in parts. Raises ModelError when there is none."""
    for pattern in (WEIGHTS, f"*.safetensors{INDEX}", f"*.bin{INDEX}", *PREFERRED, *WEIGHTS_PATTERNS):
        if found := sorted(folder.glob(pattern)):
            refuse_lone_part(found[0])
            return found[0]
    raise ModelError(f"{folder}: no weights found; expected {WEIGHTS}")


def _tokenizer(config: Mapping[str, Any], folder: Path | None = None) -> Any:
    """folder: has the files of the tokenizer, whatever place the config names."""
    text = config["text_cfg"]
    length = text.get("context_length", 77)
    if source := text.get("hf_tokenizer_name"):
        settings = {**(text.get("tokenizer_kwargs") or {}), "tokenizer_mode": text.get("tokenizer_mode")}
        return hf_tokenizer(str(folder or source), length, **settings)
    return open_clip.SimpleTokenizer(context_length=length, **(text.get("tokenizer_kwargs") or {}))


def hf_tokenizer(source: str, context_length: int, **settings: Any) -> Any:
    """A Hugging Face tokenizer behind open_clip's cleaning. Raises ConfigError when it does not load."""
    try:
        folder = str(model_folder(source))
        with _quiet():
            found = open_clip.tokenizer.HFTokenizer(
                folder, context_length=context_length, trust_remote_code=False, **settings
            )
        check_pads(found.tokenizer)
        return found
    except Exception as error:  # tokenizers raises bare ones
        raise ConfigError(f"tokenizer {source!r} does not load ({error}); give a folder or cached hub id") from error


def check_pads(tokenizer: Any) -> None:
    """Raise ModelError for a tokenizer of transformers that cannot fill captions up to one length."""
    if tokenizer.pad_token is None:
        raise ModelError("the tokenizer has no padding token; name it as pad_token in its tokenizer_config.json")


def _is_hub_id(name: str) -> bool:
    return not Path(name).exists() and name.count("/") <= 1 and not name.startswith((".", "/"))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """open_clip reports every intended choice (random weights, say) as a warning on the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with nobody_is_asked():
            yield
    finally:
        logging.disable(before)
