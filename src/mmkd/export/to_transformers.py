"""The student as a model of transformers, weight by weight: `config.json`, `model.safetensors`, processor, tokenizer.

Its towers decide the class: CLIPModel (open_clip's ViT and CLIP's text transformer), ChineseCLIPModel (open_clip's ViT
and a BERT whose first token is projected), VisionTextDualEncoderModel (a network of timm, or a BERT with a pooling
layer of its own). Where only the image tower has a counterpart, it is written alone.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.hf_model import HFTextEncoder
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from PIL import Image
from torch import Tensor

from mmkd.errors import ModelError
from mmkd.export.image_towers import ImageTower, of_timm, of_vision_transformer
from mmkd.export.text_towers import TextTower, of_bert, of_text_transformer
from mmkd.export.tokenizer import save_tokenizer, tokenizer_of
from mmkd.statistics.metrics import Array
from mmkd.teachers.files.open_clip_folder import OpenClipModel

WEIGHTS = "model.safetensors"
IMAGE_TOWER = "clip_vision_model"
CURE = "its ONNX and open_clip forms are whole; leave transformers out of --to"


@dataclass(frozen=True)
class Converted:
    """network: of transformers. refused: why the text tower is not in it, "" where it is."""

    network: Any
    refused: str = ""


def write(model: OpenClipModel, folder: Path) -> str:
    """All files of the format; returns why the text tower is not among them, "" where it is.

    Raises ModelError for a student whose image tower or transform has no counterpart.
    """
    try:
        processor, found = image_processor(model.preprocess), converted(model)
        if not found.refused:
            save_tokenizer(tokenizer_of(model), folder)
    except ValueError as error:
        raise ModelError(f"not written for transformers: {error}; {CURE}") from error
    found.network.save_pretrained(folder)
    (folder / WEIGHTS).chmod((folder / "config.json").stat().st_mode)  # safetensors lets the owner alone read them
    processor.save_pretrained(folder)
    return found.refused


def converted(model: OpenClipModel) -> Converted:
    """Raises ValueError with the reason why the image tower has no counterpart."""
    image = _image(model)
    try:
        text = _text(model)
        network, parts = _both(model, image, text)
    except ValueError as error:
        network, parts = _image_alone(model, image, str(error))
        return Converted(_filled(network, parts), str(error))
    scale: Any = model.network.logit_scale
    return Converted(_filled(network, {**parts, "logit_scale": scale.detach().reshape(())}))


def _image(model: OpenClipModel) -> ImageTower:
    visual: Any = model.network.visual
    if isinstance(visual, VisionTransformer):
        return of_vision_transformer(visual)
    if isinstance(visual, TimmModel):
        return of_timm(visual, model.config["vision_cfg"])
    raise ValueError(f"transformers has no image tower like open_clip's {type(visual).__name__}")


def _text(model: OpenClipModel) -> TextTower:
    if getattr(model.network, "logit_bias", None) is not None:
        raise ValueError("it adds a bias to the cosines, which no such model of transformers does")
    tower: Any = getattr(model.network, "text", model.network)
    if isinstance(tower, HFTextEncoder):
        return of_bert(tower)
    return of_text_transformer(tower)


def _both(model: OpenClipModel, image: ImageTower, text: TextTower) -> tuple[Any, dict[str, Tensor]]:
    import transformers as hf

    parts = {f"vision_model.{name}": value for name, value in image.tensors.items()}
    parts |= {f"text_model.{name}": value for name, value in text.tensors.items()}
    parts |= {"visual_projection.weight": image.projection, "text_projection.weight": text.projection}
    kind, whole = _kind(image, text)
    described = getattr(hf, f"{kind}Config")(
        vision_config={**image.config.to_dict(), **({"projection_dim": model.dim} if whole else {})},
        text_config={**text.config.to_dict(), **({"projection_dim": model.dim} if whole else {})},
        projection_dim=model.dim,
    )
    return getattr(hf, f"{kind}Model")(described), parts


def _kind(image: ImageTower, text: TextTower) -> tuple[str, bool]:
    """The name of the family, and whether its towers are told the width of the vectors."""
    if image.kind == "clip" and text.kind == "clip":
        return "CLIP", True
    if text.kind == "first":
        if image.kind != "clip":
            raise ValueError("its BERT is pooled at the first token, which transformers has beside CLIP's ViT only")
        return "ChineseCLIP", True
    return "VisionTextDualEncoder", False


def _image_alone(model: OpenClipModel, image: ImageTower, reason: str) -> tuple[Any, dict[str, Tensor]]:
    from transformers import CLIPVisionModelWithProjection

    if image.kind != "clip":
        raise ValueError(
            f"{reason}; and transformers takes a network of timm with its projection beside a text tower only"
        )
    image.config.projection_dim = model.dim
    parts = {f"vision_model.{name}": value for name, value in image.tensors.items()}
    return CLIPVisionModelWithProjection(image.config), {**parts, "visual_projection.weight": image.projection}


def _filled(network: Any, parts: dict[str, Tensor]) -> Any:
    """Strictly: every weight from the student. Raises ValueError where the two do not fit."""
    found = {name: value.detach().float().contiguous().clone() for name, value in parts.items()}
    buffers = {name for name, _ in network.named_buffers()} & set(network.state_dict())
    try:
        missing, unexpected = network.load_state_dict(found, strict=False)
    except RuntimeError as error:
        raise ValueError(f"its weights do not fit {type(network).__name__} ({error})") from error
    if left := [*(set(missing) - buffers), *unexpected]:
        raise ValueError(f"its weights do not fit {type(network).__name__}: {sorted(left)[0]} is in one of them only")
    return network.eval()


def image_processor(preprocess: dict[str, Any]) -> Any:
    """CLIP's image processor that does what open_clip's transform does, but for the rounding of its resizing.

    Raises ValueError for a transform that it cannot do.
    """
    from transformers import CLIPImageProcessor

    size, mode = preprocess["size"], preprocess.get("resize_mode") or "shortest"
    height, width = (size, size) if isinstance(size, int) else size
    crop = {"height": height, "width": width}
    if mode == "longest" and preprocess.get("fill_color"):
        raise ValueError(f"its pictures are filled up with {preprocess['fill_color']}, transformers fills with 0")
    if mode == "shortest" and height != width:
        raise ValueError(f"its pictures are {height} x {width}, and transformers crops squares only")
    sizes = {
        "shortest": {"shortest_edge": height},
        "longest": {"max_height": height, "max_width": width},
        "squash": crop,
    }
    return CLIPImageProcessor(
        size=sizes[mode],
        crop_size=crop,
        do_center_crop=mode != "squash",
        resample=2 if preprocess.get("interpolation") == "bilinear" else 3,
        image_mean=list(preprocess["mean"]),
        image_std=list(preprocess["std"]),
    )


class TransformersModel:
    """The folder as transformers opens it. texts: None where only the image tower is there."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer, CLIPVisionModelWithProjection

        self._processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        self.has_texts = AutoConfig.from_pretrained(folder, trust_remote_code=False).model_type != IMAGE_TOWER
        kind = AutoModel if self.has_texts else CLIPVisionModelWithProjection
        self._network = kind.from_pretrained(folder, trust_remote_code=False, weights_only=True).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False) if self.has_texts else None

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image.Image]) -> Array:
        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        if self.has_texts:
            return _unit(self._network.get_image_features(pixel_values=pixels).pooler_output)
        return _unit(self._network(pixel_values=pixels).image_embeds)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Array | None:
        if self._tokenizer is None:
            return None
        tokens = self._tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        return _unit(self._network.get_text_features(**tokens).pooler_output)


def fitting(folder: Path, texts: Sequence[str]) -> list[int]:
    """The places of the texts that are no longer than the context: the pipeline cuts none."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    lengths = [len(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]
    return [place for place, length in enumerate(lengths) if length <= tokenizer.model_max_length]


def piped(folder: Path, images: Sequence[Image.Image], texts: Sequence[str]) -> Array:
    """Probabilities (N, T) of transformers' own pipeline for zero-shot classification."""
    from transformers import pipeline

    before = logging.root.manager.disable
    logging.disable(logging.ERROR)  # it says that it does not list VisionTextDualEncoderModel, and runs it
    try:
        run = pipeline("zero-shot-image-classification", model=str(folder), device="cpu", trust_remote_code=False)
        found = run(list(images), candidate_labels=list(texts), hypothesis_template="{}")
    finally:
        logging.disable(before)
    scores = [{one["label"]: one["score"] for one in row} for row in found]
    return np.array([[row[text] for text in texts] for row in scores], np.float32)


def _unit(vector_BD: Tensor) -> Array:
    found: Array = F.normalize(vector_BD, dim=1).numpy()
    return found
