"""Small teachers as their own libraries compute them, captions at full padding."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from miniature import CAPTIONS, CONTEXT, DIM, SIDE
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from mmkd.phantom.write import write_tokenizer
from mmkd.teachers.zoo.entry import ZooEntry

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"

State = dict[str, Tensor]


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
