"""The student as an open_clip folder: `open_clip_config.json`, `open_clip_model.safetensors`, tokenizer.

The description of a BERT lies in `bert/`: the folder's own `config.json` is that of transformers.
"""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mmkd.folders.atomic import write_json
from mmkd.statistics.metrics import Array
from mmkd.teachers.files import open_clip_folder
from mmkd.teachers.files.configs import read_json
from mmkd.teachers.files.open_clip_folder import BERT, CONFIG, OpenClipModel


def write(model: OpenClipModel, folder: Path, home: Path) -> None:
    """home: the folder's final place, for configs of BERT towers, which open_clip wants as an absolute path."""
    open_clip_folder.save(model, folder, home)
    described = folder / "config.json"
    if not described.is_file():
        return
    (folder / BERT).mkdir(exist_ok=True)
    described.replace(folder / BERT / "config.json")
    config = read_json(folder / CONFIG)
    config["model_cfg"]["text_cfg"]["hf_model_name"] = str((home / BERT).resolve())
    write_json(folder / CONFIG, config)


class OpenClip:
    """The folder as plain open_clip opens it."""

    def __init__(self, folder: Path) -> None:
        name = f"local-dir:{folder}"
        config = open_clip_folder.read_config(folder)["model_cfg"]
        overrides = open_clip_folder.wherever_it_lies(config, folder)  # its config names its final place already
        with contextlib.redirect_stdout(io.StringIO()):
            self._network, self.transform = open_clip.create_model_from_pretrained(name, **overrides)
            self.tokenizer = open_clip.get_tokenizer(name)
        self._network.eval()

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image.Image]) -> Array:
        return _unit(self._network.encode_image(torch.stack([self.transform(image) for image in images])))

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Array:
        return _unit(self._network.encode_text(self.tokenizer(list(texts))))


class Original(OpenClip):
    """The student before it is written."""

    def __init__(self, model: OpenClipModel) -> None:
        self._network: Any = model.network.eval()
        self.transform, self.tokenizer = model.transform, model.tokenizer


def _unit(vector_BD: Tensor) -> Array:
    found: Array = F.normalize(vector_BD, dim=1).numpy()
    return found
