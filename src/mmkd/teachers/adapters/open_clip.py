"""Teachers that open_clip builds: entries of the zoo, local folders, hub repositories, built-in names with weights."""

import json
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any, cast

import open_clip
from open_clip.hf_model import HFTextEncoder
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from open_clip.pretrained import download_pretrained, get_pretrained_cfg
from open_clip.tokenizer import get_clean_fn
from open_clip.transform import PreprocessCfg
from open_clip.transformer import TextTransformer
from torch import Tensor, nn
from torch.func import functional_call

from mmkd.errors import ModelError
from mmkd.images.transform import from_compose
from mmkd.settings import overlaid
from mmkd.teachers.adapters.protocol import ZooAdapter, wordpiece_tokenizer
from mmkd.teachers.encoders.patches import patches_of_network
from mmkd.teachers.encoders.teacher import Towers
from mmkd.teachers.encoders.tokens import CaptionTokenizer, Padding, clip_tokenizer, open_clip_tokenizer
from mmkd.teachers.files import open_clip_folder
from mmkd.teachers.files.checkpoint import check_header
from mmkd.teachers.files.identity import folder_weights_digest
from mmkd.teachers.zoo.entry import ZooEntry
from mmkd.teachers.zoo.settings import HUB, LOCAL, TeacherSpec

NOT_ARCHITECTURE = ("hf_model_name", "hf_tokenizer_name", "hf_model_pretrained", "timm_model_pretrained")
OLD_NAMES = {"proj": "hf_proj_type", "pooler_type": "hf_pooler_type"}  # text_cfg before open_clip 2.23


def model_config(entry: ZooEntry) -> dict[str, Any]:
    """The entry's `model_cfg`, a built-in architecture's values included."""
    base = open_clip_folder.architecture(entry.architecture) if entry.architecture else {}
    return cast(dict[str, Any], overlaid(base, entry.config))


def build(entry: ZooEntry) -> nn.Module:
    """The network with random weights; a BERT is built from the entry's facts, so that no file is needed."""
    from transformers import BertConfig

    config = deepcopy(model_config(entry))
    with tempfile.TemporaryDirectory() as folder:
        if "hf_model_name" in config["text_cfg"]:
            BertConfig(**entry.bert).save_pretrained(folder)
            config["text_cfg"] |= {"hf_model_name": folder, "hf_model_pretrained": False}
        return cast(nn.Module, open_clip_folder.build_network(config, entry.preprocess))


def tokenizer(entry: ZooEntry, folder: Path | None) -> CaptionTokenizer:
    """CLIP's BPE, or WordPiece with the vocabulary in the folder behind open_clip's cleaning of the text."""
    if folder is None:
        return clip_tokenizer(entry.context_length or 77)
    return wordpiece_tokenizer(entry, folder, entry.cls_id, get_clean_fn("whitespace"))


def check(entry: ZooEntry, folder: Path) -> None:
    """Compare the entry with an `open_clip_config.json` beside the weights, key by key, defaults filled in."""
    path = folder / open_clip_folder.CONFIG
    if not path.is_file():
        return
    try:
        found = json.loads(path.read_text())
        theirs = _comparable(found["model_cfg"], found.get("preprocess_cfg") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not an open_clip config ({error}); fetch it again, or take it away") from error
    ours = _comparable(model_config(entry), entry.preprocess)
    wrong = [f"{key} is {theirs[key]!r} there and {ours[key]!r} in the zoo" for key in ours if ours[key] != theirs[key]]
    if wrong:
        raise ModelError(
            f"{path}: not the model that the zoo calls {entry.name!r}: {'; '.join(wrong)}; is it another variant?"
        )


def _comparable(model: Mapping[str, Any], preprocess: Mapping[str, Any]) -> dict[str, Any]:
    text = {OLD_NAMES.get(key, key): value for key, value in model["text_cfg"].items()}
    known = {field.name for field in fields(PreprocessCfg)}  # as open_clip does: other keys and nulls do not count
    preprocess = {key: value for key, value in preprocess.items() if key in known and value is not None}
    parts = {
        "": {"embed_dim": model["embed_dim"], "quick_gelu": model.get("quick_gelu", False)},
        "vision_cfg.": asdict(CLIPVisionCfg(**model["vision_cfg"])),
        "text_cfg.": asdict(CLIPTextCfg(**text)),
        "preprocess_cfg.": {k: v for k, v in asdict(PreprocessCfg(**preprocess)).items() if k != "size"},
    }
    flat = {
        prefix + key: value
        for prefix, part in parts.items()
        for key, value in part.items()
        if key not in NOT_ARCHITECTURE
    }
    return cast(dict[str, Any], json.loads(json.dumps(flat)))  # tuples and lists compare alike


def encode_text(network: Any, ids_BL: Tensor, length_B: Tensor | None = None) -> Tensor:
    """(B, D); the towers find the end of a caption, or its padding, by themselves."""
    cut = _cut_tables(network, ids_BL.shape[1])
    if not cut:
        return cast(Tensor, network.encode_text(ids_BL))
    found = functional_call(network, cut, (None, ids_BL))
    return cast(Tensor, found["text_features"] if isinstance(found, dict) else found[1])


def _cut_tables(network: Any, width: int) -> dict[str, Tensor]:
    """What of open_clip's own text transformers has to be cut for shorter captions; being causal, they give the same.

    Its CLIP cuts nothing by itself, its TextTransformer the positions only. {} where nothing is to be cut.
    """
    text, prefix = (network, "") if isinstance(network, open_clip.CLIP) else (getattr(network, "text", None), "text.")
    if not isinstance(text, open_clip.CLIP | TextTransformer) or width == len(text.positional_embedding):
        return {}
    cut = {} if prefix else {"positional_embedding": text.positional_embedding[:width]}
    if text.attn_mask is not None and getattr(text, "cls_emb", None) is None:
        cut[f"{prefix}attn_mask"] = text.attn_mask[:width, :width]
    return cut


def from_spec(spec: TeacherSpec) -> Towers:
    """A model that a recipe names in open_clip's own way. Raises ModelError when it does not load."""
    if spec.model.startswith(LOCAL):
        folder = Path(spec.model.removeprefix(LOCAL))
        model = open_clip_folder.load(folder)
        return _towers(model.network, model.transform, model.tokenizer, folder_weights_digest(folder))
    _check_has_weights(spec)
    try:
        if spec.model.startswith(HUB):
            model = open_clip_folder.assembled_from_hub(spec.model.removeprefix(HUB))
        else:
            model = open_clip_folder.built_in(spec.model, str(spec.pretrained))
    except Exception as error:  # network, file, pickle and key errors of three libraries end here
        raise ModelError(f"teacher {spec.name!r}: {spec.model} does not load: {error}") from error
    return _towers(model.network, model.transform, model.tokenizer, "")


def check_spec(spec: TeacherSpec) -> int | None:
    """Fetch the files of such a model, and look at its config and at the header of its weights; returns its dimension.

    Raises ModelError when they are missing or damaged.
    """
    if spec.model.startswith(LOCAL):
        folder = Path(spec.model.removeprefix(LOCAL))
        config = open_clip_folder.read_config(folder)
        check_header(open_clip_folder.weights_file(folder))
        return int(config["model_cfg"]["embed_dim"])
    _check_has_weights(spec)
    try:
        if spec.model.startswith(HUB):
            open_clip_folder.fetch(spec.model.removeprefix(HUB))
        elif not Path(str(spec.pretrained)).is_file():
            download_pretrained(get_pretrained_cfg(spec.model, str(spec.pretrained)))
    except Exception as error:  # as in `from_spec`
        raise ModelError(f"teacher {spec.name!r}: {spec.model} is not to be had: {error}") from error
    config = open_clip.get_model_config(spec.model) or {}
    return config.get("embed_dim")


def _check_has_weights(spec: TeacherSpec) -> None:
    if spec.pretrained is None and not spec.model.startswith(HUB):
        raise ModelError(
            f"teacher {spec.name!r}: model {spec.model!r} has no weights; "
            "set pretrained to an open_clip tag or a weights file, or use hf-hub: or local-dir:"
        )


def _towers(network: Any, transform: Any, tokenizer: Any, weights: str) -> Towers:
    return Towers(
        network=network,
        encode_image=network.encode_image,
        encode_text=lambda ids, length: encode_text(network, ids, length),
        patches=partial(patches_of_network, network),
        transform=from_compose(transform),
        tokenizer=open_clip_tokenizer(tokenizer, padding_of(network)),
        weights=weights,
    )


def padding_of(network: Any) -> Padding:
    """Masked BERTs and causal towers that read the end of the text do not see padding; others must be taken to."""
    text = getattr(network, "text", network)
    if isinstance(text, HFTextEncoder):
        return "longest"
    pool = getattr(text, "text_pool_type", getattr(text, "pool_type", None))
    causal = getattr(text, "attn_mask", None) is not None and getattr(text, "cls_emb", None) is None
    return "longest" if causal and pool in ("argmax", "eos") else "full"


ADAPTER = ZooAdapter(build=build, text=encode_text, patches=patches_of_network, tokenizer=tokenizer, check=check)
