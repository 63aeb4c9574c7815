"""The recipe section `[student]`."""

from typing import Any, Literal

from pydantic import Field, model_validator

from mmkd.settings import RecipePath, Settings


class StudentSettings(Settings):
    """The recipe section `[student]`.

    model: an open_clip architecture (`ViT-B-16`). config: open_clip's `model_cfg` instead, as a table or a JSON file.
    tokenizer: folder with Hugging Face tokenizer files, for a config whose text tower does not use CLIP's own BPE.
    weights: an open_clip safetensors or PyTorch file to start from. pretrained_towers: let timm and transformers fetch
    the towers' own pretrained weights. resize_mode: how open_clip makes images square; `longest` pads and crops
    nothing.
    """

    model: str | None = None
    config: dict[str, Any] | RecipePath | None = None
    tokenizer: RecipePath | None = None
    weights: RecipePath | None = None
    pretrained_towers: bool = False
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    init_scale: float = Field(14.3, gt=0.0, le=100.0)

    @model_validator(mode="after")
    def _one_architecture(self) -> "StudentSettings":
        if (self.model is None) == (self.config is None):
            raise ValueError("give either model (an open_clip architecture) or config (open_clip's model_cfg)")
        return self
