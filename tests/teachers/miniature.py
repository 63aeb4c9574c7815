"""Teachers of the zoo with small sizes: random weights in their published files, and the same models as their own
libraries compute them, captions at full padding.

What loads silently wrong is kept as in the entry: activation, pooling, kind of tower, preparation, layout.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import open_clip
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.models import register_model
from torch import Tensor, nn

from mmkd.corpus.phantom.tokenizer import write_tokenizer
from mmkd.settings import overlaid
from mmkd.teachers.adapters.open_clip import model_config
from mmkd.teachers.entry import ZooEntry, zoo

CONTEXT, DIM, SIDE, WIDTH = 20, 24, 32, 32
CAPTIONS = [
    "",
    "A chest radiograph",
    "drusen  on optical coherence\ttomography &amp; fundus",
    "stained with H&E: gland, nucleus, stroma",
    "nodule " * 60,
]
SMALL_BERT = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL_TOWER = {**SMALL_BERT, "intermediate_size": 64}
SMALL_PATCH = {32: 16, 16: 8, 14: 4}  # different sizes stay different
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"

State = dict[str, Tensor]


def pictures() -> list[Image.Image]:
    """Wide, tall and grey: each is resized and cropped in another way."""
    pixels = np.random.default_rng(7)
    sizes = ((40, 61, 3), (90, 33, 3), (50, 50))
    return [Image.fromarray(pixels.integers(0, 256, size, dtype=np.uint8)) for size in sizes]


def every_form(adapters: Sequence[str] = ("open_clip", "transformers")) -> list[tuple[str, str | None, int]]:
    """(name, variant, which set of files) of every usable entry of the adapters."""
    usable = [entry for entry in zoo().values() if entry.status == "usable" and entry.adapter in adapters]
    return [
        (entry.name, variant, index)
        for entry in usable
        for variant in entry.variant_names or [None]
        for index in range(len(entry.variant(variant).weights.files))  # type: ignore[union-attr]
    ]


# ---- small entries


def miniature(entry: ZooEntry) -> ZooEntry:
    """The entry, a variant applied, with small sizes."""
    data = entry.model_dump()
    if entry.adapter == "open_clip":
        data |= {"architecture": "", "config": _small_model(model_config(entry))}
        side = data["config"]["vision_cfg"]["image_size"]
    else:
        data["config"], side = _small_transformers(entry.config), SIDE
    if entry.text:
        data["bert"] = {**SMALL_BERT, "vocab_size": 120, "max_position_embeddings": CONTEXT + 2}
    data |= {"dim": DIM if entry.name != "medsiglip" else WIDTH, "context_length": CONTEXT}
    return ZooEntry.model_validate(overlaid(data, {"preprocess": {"size": [side, side]}}))


def _small_model(config: dict[str, Any]) -> dict[str, Any]:
    vision, text = config["vision_cfg"], {**config["text_cfg"], "context_length": CONTEXT}
    if "timm_model_name" in vision:
        vision = {**vision, "timm_model_name": small_timm(vision["timm_model_name"]), "image_size": SIDE}
    elif isinstance(vision["layers"], list):  # a ResNet, whose output is a 32nd of its input
        vision = {**vision, "layers": [1, 1, 1, 1], "width": 8, "image_size": 2 * SIDE}
    else:
        patch = SMALL_PATCH[vision["patch_size"]]
        vision = {**vision, "image_size": SIDE, "layers": 2, "width": WIDTH, "head_width": 16, "patch_size": patch}
    if "hf_model_name" not in text:
        text |= {"width": WIDTH, "heads": 2, "layers": 2}
    return {**config, "embed_dim": DIM, "vision_cfg": vision, "text_cfg": text}


def _small_transformers(config: dict[str, Any]) -> dict[str, Any]:
    patch = SMALL_PATCH[config["vision_config"]["patch_size"]]
    vision = {**config["vision_config"], **SMALL_TOWER, "image_size": SIDE, "patch_size": patch}
    text = {**config["text_config"], **SMALL_TOWER, "max_position_embeddings": CONTEXT}
    if config["model_type"] == "siglip":
        return {**config, "vision_config": vision, "text_config": {**text, "vocab_size": 120, "projection_size": WIDTH}}
    sized = {"projection_dim": DIM}
    return {**config, **sized, "vision_config": {**vision, **sized}, "text_config": {**text, **sized}}


def small_timm(name: str) -> str:
    """A model of timm's, with small sizes, under a name of its own that open_clip can ask timm for."""
    small = f"small_{name.split('.')[0]}"
    if not timm.is_model(small):

        def entrypoint(pretrained: bool = False, **settings: Any) -> nn.Module:
            sizes = {"img_size": SIDE, "embed_dim": WIDTH, "depth": 2, "num_heads": 2}
            return timm.create_model(name, pretrained=False, **settings, **sizes)

        entrypoint.__name__ = small
        register_model(entrypoint)
    return small


# ---- the same models in their own libraries


@dataclass(frozen=True)
class Oracle:
    """A library's own model: state as that library saves it; images, texts -> (N, D), not normalised."""

    state: State
    images: Callable[[Sequence[Image.Image]], Tensor]
    texts: Callable[[Sequence[str]], Tensor]


def oracle(entry: ZooEntry, folder: Path, rounded: bool = False) -> Oracle:
    """Of a small entry; rounded: weights are what half precision leaves of them."""
    if entry.adapter == "open_clip":
        return _of_open_clip(entry, folder, rounded)
    return (_of_siglip if entry.config["model_type"] == "siglip" else _of_clip)(entry, folder)


def randomise(network: nn.Module, seed: int = 1) -> nn.Module:
    """Weights far enough apart that no mistake goes unseen."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in network.state_dict().items():
        if value.is_floating_point() and value.numel() > 1:
            value.add_(torch.randn(value.shape, generator=generator), alpha=0.2)
            if key.endswith("running_var"):
                value.abs_().add_(0.1)
    return network.eval()


def open_clip_folder(entry: ZooEntry, folder: Path) -> Path:
    """A folder that open_clip opens, without weights."""
    from transformers import BertConfig

    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads(json.dumps(entry.config))
    if entry.text:
        write_tokenizer(folder, CAPTIONS * 3, vocab_size=120, lowercase=True)
        BertConfig(**entry.bert).save_pretrained(folder)
        config["text_cfg"] |= dict.fromkeys(("hf_model_name", "hf_tokenizer_name"), str(folder))
        config["text_cfg"]["hf_model_pretrained"] = False
    preprocess = {key: value for key, value in entry.preprocess.items() if key != "size"}
    (folder / CONFIG).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    return folder


def _of_open_clip(entry: ZooEntry, folder: Path, rounded: bool) -> Oracle:
    place = f"local-dir:{open_clip_folder(entry, folder)}"
    drawn = randomise(open_clip.create_model(place, load_weights=False, pretrained_text=False))
    for parameter in drawn.parameters() if rounded else ():
        parameter.data = parameter.data.half().float()
    save_file({key: value.contiguous() for key, value in drawn.state_dict().items()}, folder / WEIGHTS)
    network, transform = open_clip.create_model_from_pretrained(place)
    network.eval()
    words = open_clip.get_tokenizer(place) if entry.text else bpe()
    return Oracle(
        state=dict(network.state_dict()),
        images=lambda images: network.encode_image(torch.stack([transform(image) for image in images])),
        texts=lambda captions: network.encode_text(words(list(captions))),
    )


@cache
def bpe() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer(context_length=CONTEXT)


@cache
def bpe_of_transformers() -> Any:
    """CLIP's tokenizer as transformers has it: padded with the end token, by a library of its own."""
    from transformers import CLIPTokenizer

    marks = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    numbers = {marks.get(token, token): number for token, number in bpe().encoder.items()}
    return CLIPTokenizer(vocab=numbers, merges=list(bpe().bpe_ranks))


def _of_clip(entry: ZooEntry, folder: Path) -> Oracle:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    vision, text = entry.config["vision_config"], entry.config["text_config"]
    # the end token's number as published, which transformers takes for "the highest id"
    config = CLIPConfig(vision_config=vision, text_config={**text, "eos_token_id": 2}, projection_dim=DIM)
    network = randomise(CLIPModel(config))
    mean, std = entry.preprocess["mean"], entry.preprocess["std"]
    crop = {"height": SIDE, "width": SIDE}
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=crop, image_mean=mean, image_std=std)
    config.save_pretrained(folder)
    images.save_pretrained(folder)

    def texts(captions: Sequence[str]) -> Tensor:
        cleaned = [caption.replace("&amp;", "&") for caption in captions]  # as ftfy would
        settings = {"padding": "max_length", "truncation": True, "max_length": CONTEXT, "return_tensors": "pt"}
        return network.get_text_features(**bpe_of_transformers()(cleaned, **settings)).pooler_output

    return Oracle(
        state=dict(network.state_dict()),
        images=lambda found: (
            network.get_image_features(images(found, return_tensors="pt")["pixel_values"]).pooler_output
        ),
        texts=texts,
    )


def _of_siglip(entry: ZooEntry, folder: Path) -> Oracle:
    from transformers import AutoTokenizer, SiglipConfig, SiglipImageProcessorPil, SiglipModel

    config = SiglipConfig(vision_config=entry.config["vision_config"], text_config=entry.config["text_config"])
    network = randomise(SiglipModel(config))
    images = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}, resample=3)
    config.save_pretrained(folder)
    images.save_pretrained(folder)
    write_tokenizer(folder, CAPTIONS * 3, vocab_size=120, lowercase=True)
    words = AutoTokenizer.from_pretrained(folder)

    def texts(captions: Sequence[str]) -> Tensor:
        settings = {"padding": "max_length", "truncation": True, "max_length": CONTEXT, "return_tensors": "pt"}
        return network.get_text_features(input_ids=words(list(captions), **settings)["input_ids"]).pooler_output

    return Oracle(
        state=dict(network.state_dict()),
        images=lambda found: (
            network.get_image_features(images(found, return_tensors="pt")["pixel_values"]).pooler_output
        ),
        texts=texts,
    )


# ---- published files


def position_ids(state: State, prefix: str) -> State:
    """With what old transformers stored beside the embeddings."""
    return {**state, f"{prefix}embeddings.position_ids": torch.arange(CONTEXT)[None]}


def bert_ids(state: State) -> State:
    """BERT towers in open_clip's layout come with them; CLIP's own do not."""
    return position_ids(state, "text.transformer.") if any(key.startswith("text.") for key in state) else state


def in_training(state: State) -> dict[str, Any]:
    """open_clip's training checkpoint, of parallel processes with mixed precision."""
    moments = {0: {"step": torch.tensor(9.0), "exp_avg": torch.ones(3), "exp_avg_sq": torch.ones(3)}}
    groups = [{"lr": np.float64(1e-4), "betas": (0.9, 0.98), "params": [0]}]
    return {
        "epoch": 9,
        "name": "a run",
        "state_dict": OrderedDict((f"module.{key}", value) for key, value in state.items()),
        "optimizer": {"state": moments, "param_groups": groups},
        "scaler": {"scale": 65536.0, "growth_factor": 2.0},
    }


def in_the_fork(state: State) -> dict[str, Any]:
    """UniMed-CLIP's and MMKD-CLIP's: `text.` is `text_encoder.`, and a BERT of old transformers."""
    renamed = {
        key.replace("text.", "text_encoder.", 1) if key.startswith("text.") else key: v for key, v in state.items()
    }
    return in_training(position_ids(renamed, "text_encoder.transformer."))


def in_half(state: State) -> dict[str, Any]:
    """PubMedCLIP's: OpenAI's `convert_weights` halves matrices and convolutions with their biases, not norms."""
    kept = ("ln_", "bn", "downsample.1", "positional_embedding", "token_embedding", "logit_scale", "class_embedding")
    mixed = {k: v if any(part in k for part in kept) or v.dtype == torch.int64 else v.half() for k, v in state.items()}
    moments = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-5, "params": [0]}]}
    return {"best_epoch": 7, "state_dict": OrderedDict(mixed), "optimizer_state_dict": moments, "best_loss": 0.5}


def of_old_transformers(state: State) -> State:
    return position_ids(position_ids(state, "text_model."), "vision_model.")


FORMS: dict[str, Callable[[State], Any]] = {
    "biomedclip": bert_ids,
    "bmc-clip": in_training,
    "chexzero": OrderedDict,
    "dermlip": OrderedDict,
    "genmedclip": bert_ids,
    "medpmc-clip": OrderedDict,
    "medsiglip": OrderedDict,
    "mmkd-clip": in_the_fork,
    "monet": OrderedDict,
    "plip": of_old_transformers,
    "pmc-vit-l-14": OrderedDict,
    "pubmedclip": in_half,
    "quiltnet": bert_ids,
    "unimed-clip": in_the_fork,
}


def publish(entry: ZooEntry, state: State, folder: Path, index: int = 0) -> Path:
    """The small entry's weights in one of its sets of files, under their published name and layout."""
    folder.mkdir(parents=True, exist_ok=True)
    assert entry.weights
    (name,) = entry.weights.files[index]
    path, form = folder / name, FORMS[entry.name](state)
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous().clone() for key, value in form.items()}, path)
    else:
        torch.save(form, path)
        as_numpy_1(path)
    return path


def as_numpy_1(path: Path) -> None:
    """Pickles of NumPy 1 call its module by another name; those without NumPy's scalars stay as they are."""
    with ZipFile(path) as source:
        members = [(name, source.read(name)) for name in source.namelist()]
    with ZipFile(path, "w") as target:
        for name, content in members:
            target.writestr(name, content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


def publish_words(entry: ZooEntry, source: Path, folder: Path) -> None:
    """Its tokenizer in the folder `text`, from that of the oracle's folder: the vocabulary alone for BERTs."""
    from transformers import AutoTokenizer

    if not entry.text:
        return
    (folder / "text").mkdir(parents=True, exist_ok=True)
    if entry.text.files[0] == ["vocab.txt"]:
        numbers = AutoTokenizer.from_pretrained(source).get_vocab()
        (folder / "text" / "vocab.txt").write_text("\n".join(sorted(numbers, key=numbers.__getitem__)) + "\n")
    else:
        for name in entry.text.files[-1]:
            (folder / "text" / name).write_bytes((source / name).read_bytes())
