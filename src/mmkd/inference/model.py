"""A model that embeds pictures and texts: a student's export, a teacher, or any other model, by name.

N pictures, T texts, B pictures of a batch, D dimensions, C x H x W pixels. PyTorch is imported with the models that
need it: one in ONNX Runtime starts without.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image

from mmkd.errors import ConfigError
from mmkd.folders.sums import SUMS, say_unchecked
from mmkd.statistics.metrics import Array
from mmkd.teachers.zoo.settings import LOCAL, TeacherSpec, model_of
from mmkd.validation import parse

BATCH = 32
GPU = Path("/dev/nvidiactl")  # there where a driver of NVIDIA is: asking PyTorch takes seconds
Backend = Literal["auto", "torch", "onnx"]
FORMS: dict[str, tuple[Backend, str]] = {"onnx:": ("onnx", "fp32"), "int8:": ("onnx", "int8")}
"""What stands before the folder of an export to open its ONNX files -> backend and precision."""


class Model(Protocol):
    """What `open_model` returns. All vectors are float32 of length 1.

    name: in tables. digest: of everything that decides its vectors. dim: D. scale: what cosines are multiplied with
    before a softmax.
    """

    name: str
    digest: str
    dim: int
    scale: float

    def prepare(self, image: Image.Image) -> np.ndarray:
        """An upright RGB picture as uint8 (C, H, W) of the model's size; may be called in threads."""
        ...

    def encode_prepared(self, image_BCHW: np.ndarray) -> Array:
        """(B, D)."""
        ...

    def encode_images(self, images: Sequence[Image.Image]) -> Array:
        """(N, D), BATCH pictures at a time."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Array:
        """(T, D)."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Of all texts together, as far as the model reads them."""
        ...


def in_batches(model: Model, images: Sequence[Image.Image]) -> Array:
    """Vectors of pictures, BATCH at a time: (N, D)."""
    parts = [
        model.encode_prepared(np.stack([model.prepare(image) for image in images[first : first + BATCH]]))
        for first in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts) if parts else np.empty((0, model.dim), np.float32)


def open_model(
    text: str, device: str = "auto", precision: str = "fp32", backend: Backend = "torch", threads: int = 0
) -> Model:
    """The model that the text names: a folder (a student's export), or what `mmkd evaluate --model` takes.

    backend: `torch`; `onnx`, for the folder of an export; `auto`, ONNX Runtime where the folder has its files, the
    library is there and no GPU is asked for or found. precision: `fp32`, `fp16` or `bf16` in PyTorch, `fp32` or `int8`
    in ONNX Runtime. A prefix of FORMS in the text decides both. threads: of ONNX Runtime, 0 for all processors.

    Raises ConfigError for a text that names no model, ModelError for one that does not load.
    """
    from mmkd.inference.onnx import OnnxModel

    text, backend, precision = split_form(text, backend, precision)
    name, folder = named_folder(text)
    if folder is not None and not (folder / SUMS).is_file():
        say_unchecked(folder)
    if backend == "onnx" or (backend == "auto" and folder is not None and suits_onnx(folder, device)):
        if folder is None:
            raise ConfigError(f"{text!r} is no folder; ONNX Runtime takes one that 'mmkd export --to onnx' wrote")
        return OnnxModel(folder, threads, precision, name)
    from mmkd.inference.torch_model import open_torch

    if folder is not None:
        text = f"{name}={LOCAL}{folder}" if name else f"{LOCAL}{folder}"
    return open_torch(model_spec(text), device, precision)


def named_folder(text: str) -> tuple[str, Path | None]:
    """The name and the folder in `[NAME=][FORM][local-dir:]FOLDER`; "" and None where it has none."""
    text = split_form(text)[0]
    if (whole := Path(text.removeprefix(LOCAL))).is_dir():  # its path may have the sign as well
        return "", whole
    name, has_name, rest = text.partition("=")
    folder = Path(rest.removeprefix(LOCAL))
    return (name, folder) if has_name and folder.is_dir() else ("", None)


def absolute(text: str) -> str:
    """The text with its folder's whole path, so that it names the same model wherever it is opened from."""
    name, folder = named_folder(text)
    if folder is None:
        return text
    form = next((form for form in FORMS if text.removeprefix(f"{name}=" if name else "").startswith(form)), "")
    return (f"{name}=" if name else "") + form + str(folder.resolve())


def split_form(text: str, backend: Backend = "auto", precision: str = "fp32") -> tuple[str, Backend, str]:
    """The text without a prefix of FORMS, and the backend and precision that the prefix or else the others say."""
    name, has_name, rest = text.partition("=")
    for prefix, (of_form, bits) in FORMS.items():
        if text.startswith(prefix):
            return text.removeprefix(prefix), of_form, bits
        if has_name and rest.startswith(prefix):
            return f"{name}={rest.removeprefix(prefix)}", of_form, bits
    return text, backend, precision


def suits_onnx(folder: Path, device: str) -> bool:
    """Whether the backend `auto` computes the model of the folder in ONNX Runtime."""
    from importlib.util import find_spec

    from mmkd.inference.onnx import has_onnx

    on_cpu = device == "cpu" or (device == "auto" and not GPU.exists())
    return on_cpu and folder.is_dir() and has_onnx(folder) and find_spec("onnxruntime") is not None


def model_spec(text: str, setting: str = "--model") -> TeacherSpec:
    """`[NAME=]MODEL` as a model to load. Raises ConfigError that names what is wrong with it."""
    try:
        data: dict[str, Any] = model_of(text)
    except ValueError as error:
        raise ConfigError(f"{setting} {text!r}: {error}") from error
    return parse(TeacherSpec, data, f"{setting} {text!r}", {"base": Path.cwd()})
