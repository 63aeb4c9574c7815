"""The recipe sections `[[teachers]]` and `[extract]`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from mmkd.settings import Settings

LOCAL = "local-dir:"


class TeacherSpec(Settings):
    """Names a frozen model.

    model: an open_clip name (`ViT-B-16`, with `pretrained`), `hf-hub:org/repo`, `local-dir:FOLDER`, or for
    `library = "transformers"` a hub id or a folder. With `library = "reference"` the model is not run: its stored
    features are read from the public MMKD-CLIP data folder that `model` names. Folders are relative to the recipe.
    pretrained: open_clip tag or weights file, only for plain names.
    licence: of the weights; it goes into the features, the checkpoint and the model card.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    library: Literal["open_clip", "transformers", "reference"] = "open_clip"
    model: str
    pretrained: str | None = None
    licence: str = "unknown"

    @field_validator("model")
    @classmethod
    def _folder_beside_the_recipe(cls, model: str, info: ValidationInfo) -> str:
        base = (info.context or {}).get("base")
        prefix = LOCAL if model.startswith(LOCAL) else ""
        path = Path(model.removeprefix(prefix))
        is_folder = prefix or info.data.get("library") == "reference" or model.startswith(".")
        return prefix + str((Path(base) / path).resolve()) if base and is_folder else model


class ExtractSettings(Settings):
    """The recipe section `[extract]`.

    batch_size: pairs a forward pass. shard_rows: rows a shard, the unit that survives a kill. precision: of the
    teachers' forward pass on a GPU; vectors are stored as float16 either way.
    """

    batch_size: PositiveInt = 256
    shard_rows: PositiveInt = 8192
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
