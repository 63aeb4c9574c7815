"""The recipe section `[student]`."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from mmkd.settings import RecipePath, Settings
from mmkd.teachers.zoo.settings import HUB, LOCAL, TRANSFORMERS


class StudentSettings(Settings):
    """The recipe section `[student]`.

    model: an open_clip architecture (`ViT-B-16`). config: open_clip's `model_cfg` instead, as a table or a JSON file.
    image_size, context_length: others than the architecture's; positions of given weights are then interpolated.
    tokenizer: folder with Hugging Face tokenizer files, for a config whose text tower does not use CLIP's own BPE.

    The student starts from random weights, or from one of: pretrained, an open_clip tag of the model
    (`laion2b_s34b_b88k`), `hf-hub:org/repo`, `local-dir:FOLDER` (relative to the recipe) or a teacher of the zoo that
    open_clip builds, the last three of which bring their architecture and transform with them where neither model nor
    config is given; weights, an open_clip safetensors or PyTorch file; pretrained_towers, each tower's own pretrained
    weights, which timm and transformers fetch.

    resize_mode: how open_clip makes images square; `longest` pads and crops nothing. init_scale: the multiplier of
    cosines that training starts with, exp(logit_scale); without it, that of the weights, or 14.3 (1 / .07).

    pretrained: an open_clip tag, `hf-hub:org/repo`, `local-dir:FOLDER` or a name of the zoo. weights: an open_clip
    safetensors or PyTorch file. pretrained_towers: start from each tower's own pretrained weights. mean, std: of the
    image normalisation; without them, those of the architecture.
    """

    model: str | None = None
    config: dict[str, Any] | RecipePath | None = None
    image_size: PositiveInt | None = None
    context_length: PositiveInt | None = None
    tokenizer: RecipePath | None = None
    pretrained: str | None = None
    weights: RecipePath | None = None
    pretrained_towers: bool = False
    resize_mode: Literal["shortest", "longest", "squash"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    init_scale: float | None = Field(None, gt=0.0, le=100.0)

    @property
    def from_repository(self) -> bool:
        """Whether `pretrained` names a whole model, not only weights."""
        return self.pretrained is not None and (self.pretrained.startswith((HUB, LOCAL)) or self.from_zoo)

    @property
    def from_zoo(self) -> bool:
        """Whether `pretrained` names a teacher of the zoo: where a model is given, it is a tag of that."""
        from mmkd.teachers.zoo.entry import zoo

        return self.model is None and self.pretrained is not None and self.pretrained in zoo()

    @field_validator("pretrained")
    @classmethod
    def _of_open_clip(cls, pretrained: str | None) -> str | None:
        if pretrained is not None and pretrained.startswith(TRANSFORMERS):
            raise ValueError(
                f"{pretrained!r} is a model of transformers, but open_clip builds the student; take an open_clip model "
                f"({HUB}..., {LOCAL}..., a tag, or a name of 'mmkd teachers list'), and this one as a teacher"
            )
        return pretrained

    @field_validator("pretrained")
    @classmethod
    def _folder_beside_the_recipe(cls, pretrained: str | None, info: ValidationInfo) -> str | None:
        base = (info.context or {}).get("base")
        if pretrained is None or base is None or not pretrained.startswith(LOCAL):
            return pretrained
        return LOCAL + str((Path(base) / pretrained.removeprefix(LOCAL)).resolve())

    @model_validator(mode="after")
    def _one_architecture(self) -> "StudentSettings":
        given = [name for name in ("model", "config") if getattr(self, name) is not None]
        if len(given) != 1 and not (self.from_repository and not given):
            raise ValueError(
                "give either model (an open_clip architecture) or config (open_clip's model_cfg), or neither with "
                f"pretrained = '{HUB}...' or '{LOCAL}...', which brings its own"
            )
        return self

    @model_validator(mode="after")
    def _one_start(self) -> "StudentSettings":
        starts = {"pretrained": self.pretrained, "weights": self.weights, "pretrained_towers": self.pretrained_towers}
        given = [name for name, value in starts.items() if value]
        if len(given) > 1:
            raise ValueError(
                f"the student starts from one thing, but {' and '.join(given)} are given; keep one of them"
            )
        if self.pretrained is not None and not self.from_repository and self.model is None:
            raise ValueError(
                f"pretrained = {self.pretrained!r} is a tag of an open_clip architecture, but no model is given; "
                f"set model, or write '{HUB}...', '{LOCAL}...' or a name of 'mmkd teachers list'"
            )
        return self
