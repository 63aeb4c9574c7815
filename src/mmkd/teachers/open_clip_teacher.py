"""Teachers that open_clip loads: built-in architectures with weights, hub repositories, local folders."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from PIL import Image

from mmkd import open_clip_folder
from mmkd.errors import ModelError
from mmkd.teachers.settings import LOCAL, TeacherSpec


class OpenClipTeacher:
    """Implements `mmkd.teachers.spec.Teacher` for any CLIP that open_clip builds."""

    def __init__(self, spec: TeacherSpec, device: torch.device) -> None:
        self.name, self.licence, self.device = spec.name, spec.licence, device
        network, self.transform, self._tokenizer = _load(spec)
        self._network: Any = network.to(device).eval().requires_grad_(False)
        self.dim = int(self.encode_texts([""]).shape[1])

    @torch.inference_mode()
    def encode_images(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return F.normalize(self._network.encode_image(image_BCHW.to(self.device)).float(), dim=1).cpu()

    @torch.inference_mode()
    def encode_texts(self, captions: Sequence[str]) -> torch.Tensor:
        tokens_BL = self._tokenizer(list(captions)).to(self.device)
        return F.normalize(self._network.encode_text(tokens_BL).float(), dim=1).cpu()


def _load(
    spec: TeacherSpec,
) -> tuple[torch.nn.Module, Callable[[Image.Image], torch.Tensor], open_clip_folder.Tokenizer]:
    if spec.model.startswith(LOCAL):
        model = open_clip_folder.load(Path(spec.model.removeprefix(LOCAL)))
        return model.network, model.transform, model.tokenizer
    if spec.pretrained is None and not spec.model.startswith("hf-hub:"):
        raise ModelError(
            f"teacher {spec.name!r}: model {spec.model!r} has no weights; "
            "set pretrained to an open_clip tag or a weights file, or use hf-hub: or local-dir:"
        )
    try:
        network, transform = open_clip.create_model_from_pretrained(spec.model, pretrained=spec.pretrained)
        return network, transform, open_clip.get_tokenizer(spec.model)
    except Exception as error:  # network, file, pickle and key errors of three libraries end here
        raise ModelError(f"teacher {spec.name!r}: {spec.model} does not load: {error}") from error
