"""Teachers that transformers loads: CLIP, SigLIP and other models with `get_image_features` and `get_text_features`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image

from mmkd.errors import ModelError
from mmkd.teachers.settings import TeacherSpec


class TransformersTeacher:
    """Implements `mmkd.teachers.spec.Teacher` for CLIP-like models of transformers, preprocessing included."""

    def __init__(self, spec: TeacherSpec, device: torch.device) -> None:
        self.name, self.licence, self.device = spec.name, spec.licence, device
        try:
            self._network, processor, self._tokenizer = _load(spec.model)
        except Exception as error:  # transformers raises OSError, ValueError, KeyError, ImportError alike
            raise ModelError(f"teacher {spec.name!r}: {spec.model} does not load: {error}") from error
        self.transform: Callable[[Image.Image], torch.Tensor] = _Processed(processor)
        self._network.to(device).eval().requires_grad_(False)
        self._length = int(self._network.config.text_config.max_position_embeddings)
        self.dim = int(self.encode_texts([""]).shape[1])

    @torch.inference_mode()
    def encode_images(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return _vector(self._network.get_image_features(pixel_values=image_BCHW.to(self.device)))

    @torch.inference_mode()
    def encode_texts(self, captions: Sequence[str]) -> torch.Tensor:
        # SigLIP was trained on captions padded to the full length; for CLIP the padding changes nothing
        tokens = self._tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=self._length, return_tensors="pt"
        )
        return _vector(self._network.get_text_features(**tokens.to(self.device)))


@dataclass(frozen=True)
class _Processed:
    """A transformers image processor as a transform of one image; prints with the processor's parameters."""

    processor: Any

    def __call__(self, image: Image.Image) -> torch.Tensor:
        pixels: torch.Tensor = self.processor(images=image, return_tensors="pt")["pixel_values"]
        return pixels[0]


def _vector(output: Any) -> torch.Tensor:
    """Normalised features; since transformers 5 the projected vector is wrapped as `pooler_output`."""
    return F.normalize(getattr(output, "pooler_output", output).float(), dim=1).cpu()


def _load(model: str) -> tuple[Any, Any, Any]:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    network, report = AutoModel.from_pretrained(model, output_loading_info=True)
    if report["missing_keys"]:  # transformers would leave these random and only warn
        missing = sorted(report["missing_keys"])
        raise ValueError(f"{len(missing)} weights are missing, {missing[0]} first")
    if not (hasattr(network, "get_image_features") and hasattr(network, "get_text_features")):
        raise ValueError(f"{type(network).__name__} is not a CLIP-like model: it has no get_image_features")
    return network, AutoImageProcessor.from_pretrained(model), AutoTokenizer.from_pretrained(model)
