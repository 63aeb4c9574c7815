"""The recipe sections `[[teachers]]` and `[extract]`."""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from mmkd.settings import Name, RecipePath, Settings

LOCAL, HUB = "local-dir:", "hf-hub:"
TRANSFORMERS = "transformers:"
WAYS = (
    "expected a name of 'mmkd teachers list', hf-hub:ORG/REPO, local-dir:FOLDER, transformers:ID (or a folder), or "
    "NAME:TAG of open_clip"
)
ZOO = "zoo"
REFERENCE = "reference"


def model_of(text: str) -> dict[str, Any]:
    """`[NAME=]MODEL`, the one way of writing a model as text, as keys of a TeacherSpec.

    MODEL: a name of the zoo, `hf-hub:ORG/REPO`, `local-dir:FOLDER`, `transformers:ID` (or a folder) or `NAME:TAG` of
    open_clip. Without a name of its own, the model has the last part of that. Raises ValueError for anything else.
    """
    from mmkd.teachers.zoo.entry import zoo

    named = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)", text)  # a folder's path may have this sign as well
    given, model = named.groups() if named else ("", text)
    kind, _, rest = model.partition(":")
    name = given or re.sub(r"[^A-Za-z0-9._-]+", "-", (rest or model).rstrip("/").split("/")[-1]).strip("-.")
    if not rest:
        if model in zoo():
            return {"name": name, "library": ZOO, "model": model}
        raise ValueError(f"no teacher {model!r} in the zoo (see 'mmkd teachers list'); {WAYS}")
    if f"{kind}:" in (LOCAL, HUB, TRANSFORMERS):
        return {"name": name, "model": model}
    return {"name": given or f"{kind}-{name}", "model": kind, "pretrained": rest}


class TeacherSpec(Settings):
    """Names a frozen model. A name alone, as a table or a bare string, is the zoo's (`mmkd teachers list`).

    A bare string may be any of: a name of the zoo, `hf-hub:ORG/REPO`, `local-dir:FOLDER`, `transformers:ID` or a
    folder, open_clip's `NAME:TAG`, each with `NAME=` before it for a name of its own.

    library and model: `zoo`, the default without a model: an entry's name. `open_clip`, the default with one: a name of
    open_clip's (`ViT-B-16`, with `pretrained`), `hf-hub:org/repo` or `local-dir:FOLDER`. `transformers`: a hub id or a
    folder. `reference`: the model is not run, its stored features are read from the public MMKD-CLIP data folder that
    `model` names. Folders are relative to the recipe.
    pretrained: open_clip tag or weights file, only for plain names of open_clip's.
    variant, weights, revision: of a teacher of the zoo: another variant than the default, a folder with its files, a
    commit of its repository.
    licence: of the weights; it goes into the features, the checkpoint and the model card. The zoo knows its own.

    name: of the teacher in this run.
    """

    name: Name
    library: Literal["zoo", "open_clip", "transformers", "reference"] = "open_clip"
    model: str
    pretrained: str | None = None
    variant: str | None = None
    weights: RecipePath | None = None
    revision: str | None = None
    licence: str = "unknown"

    @model_validator(mode="before")
    @classmethod
    def _from_the_zoo(cls, data: Any) -> Any:
        """A name alone, or a bare string, is the zoo's; the zoo's teachers bring their licence."""
        data = model_of(data) if isinstance(data, str) else data
        if not isinstance(data, dict) or "name" not in data:
            return data
        if str(data.get("model")).startswith(TRANSFORMERS) and data.get("library", "transformers") == "transformers":
            data = {**data, "library": "transformers", "model": data["model"].removeprefix(TRANSFORMERS)}
        if "model" not in data and data.get("library", ZOO) == ZOO:
            data = {**data, "library": ZOO, "model": data["name"]}
        if data.get("library") != ZOO:
            return data
        from mmkd.teachers.zoo.entry import zoo

        entry = zoo().get(str(data["model"]))
        if entry is None:
            raise ValueError(
                f"no teacher {data['model']!r} in the zoo (see 'mmkd teachers list'); set model for one of your own: "
                f"{WAYS}"
            )
        if entry.status == "usable":
            entry.variant(data.get("variant"))
        return {"licence": entry.licence, **data}

    @field_validator("model")
    @classmethod
    def _folder_beside_the_recipe(cls, model: str, info: ValidationInfo) -> str:
        base = (info.context or {}).get("base")
        if base is None:
            return model
        prefix = LOCAL if model.startswith(LOCAL) else ""
        path = Path(model.removeprefix(prefix))
        library = info.data.get("library")
        is_folder = prefix or library == "reference" or model.startswith(".")
        is_folder = is_folder or (library == "transformers" and (Path(base) / path).is_dir())
        return prefix + str((Path(base) / path).resolve()) if is_folder else model

    @model_validator(mode="after")
    def _keys_of_the_zoo(self) -> "TeacherSpec":
        misplaced = [key for key in ("variant", "weights", "revision") if getattr(self, key) is not None]
        if misplaced and self.library != ZOO:
            raise ValueError(f"teacher {self.name!r}: {', '.join(misplaced)} belong to teachers of the zoo only")
        return self


class ExtractSettings(Settings):
    """The recipe section `[extract]`.

    batch_size: pairs a forward pass. shard_rows: rows a shard, the unit that survives a kill. precision: of the
    teachers' forward pass on a GPU; vectors are stored as float16 either way. licence: `commercial` refuses teachers
    whose weights nobody may use commercially, or of which it is not known. memory_gb: of weights that are resident at
    once (0: three quarters of what the device has free); teachers beyond it wait for a second pass over the images.
    patches: side of a grid on which the features of a picture's patches are stored as well (4: averages of 4 x 4 parts
    of a tower's map), for the term `patches` of `[distill]`; teachers without a map store none. 0: nobody does.
    """

    batch_size: PositiveInt = 256
    shard_rows: PositiveInt = 8192
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    licence: Literal["any", "commercial"] = "any"
    memory_gb: float = Field(default=0.0, ge=0.0)
    patches: int = Field(default=0, ge=0, le=64)
