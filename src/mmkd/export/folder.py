"""The export of a model that lies in a folder, without a recipe: one that `mmkd adapt` made, or another's."""

import shutil
from functools import partial
from pathlib import Path

from mmkd.errors import ConfigError
from mmkd.export.card import plain_card
from mmkd.export.export import CARD, export
from mmkd.export.sample import random_pictures
from mmkd.export.settings import ExportSettings
from mmkd.folders.stage import Stage, complete, content_digest
from mmkd.teachers.files.open_clip_folder import read_config

FILES = ("*.safetensors", "open_clip_config.json", "tokenizer*.json", CARD)
ORIGINAL = "README.original.md"


def export_folder(model: Path, out: Path, settings: ExportSettings, force: bool = False) -> None:
    """Leave a finished export in `out`; the model's own card lies beside as `README.original.md`.

    Raises ConfigError where another export stands there, unless `force`, and ModelError as `export` does.
    """
    if model.resolve() == out:
        raise ConfigError(f"--out {out} is the model itself; give another folder")
    read_config(model)
    plain = settings.model_dump(mode="json", exclude={"sign"})
    stage = Stage("export", out, plain, {"model": content_digest(model, FILES)}, ("**/*",))
    complete(stage, partial(_body, model, out, settings), force)


def _body(model: Path, out: Path, settings: ExportSettings, folder: Path) -> dict[str, int]:
    note = settings.note
    if (model / CARD).is_file():
        shutil.copyfile(model / CARD, folder / ORIGINAL)
        note = f"{note} The card of the model that it was made from: {ORIGINAL}.".strip()
    return export(model, folder, out, settings, random_pictures(), partial(plain_card, settings.name, note))
