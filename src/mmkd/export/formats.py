"""The formats that a student is written in, a row for each: how it is written, opened again, and used by others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmkd.errors import ModelError
from mmkd.export import to_onnx, to_open_clip, to_transformers
from mmkd.export.agreement import Encoder
from mmkd.export.settings import ALL, FormatName
from mmkd.folders.atomic import write_json
from mmkd.inference.onnx import OnnxModel
from mmkd.inference.precision import INT8
from mmkd.progress import say
from mmkd.teachers.files.configs import read_json
from mmkd.teachers.files.open_clip_folder import OpenClipModel

RESIZED = "transformers, its own resizing"  # what is stated of it and of INT8 decides nothing


@dataclass(frozen=True)
class Format:
    """write: the model into a folder that will stand at its home; returns what of it is left out, "" for nothing.

    opened: the folder as the format's own program opens it, by name; those named RESIZED and INT8 may differ.
    snippet: of Python, for the model card.
    """

    write: Callable[[OpenClipModel, Path, Path], str]
    opened: Callable[[Path], Mapping[str, Encoder]]
    snippet: str


def _open_clip(model: OpenClipModel, folder: Path, home: Path) -> str:
    to_open_clip.write(model, folder, home)
    return ""


def _transformers(model: OpenClipModel, folder: Path, home: Path) -> str:
    return to_transformers.write(model, folder)


def _onnx(model: OpenClipModel, folder: Path, home: Path) -> str:
    to_onnx.write(model, folder)
    return ""


def _opened_transformers(folder: Path) -> Mapping[str, Encoder]:
    found = to_transformers.TransformersModel(folder)
    return {"transformers": found, RESIZED: found}


FORMATS: Mapping[FormatName, Format] = {
    "open_clip": Format(
        _open_clip,
        lambda folder: {"open_clip": to_open_clip.OpenClip(folder)},
        """import open_clip
folder = "local-dir:FOLDER"  # the folder that this file is in
model, preprocess = open_clip.create_model_from_pretrained(folder)
tokenizer = open_clip.get_tokenizer(folder)""",
    ),
    "transformers": Format(
        _transformers,
        _opened_transformers,
        """from transformers import pipeline
classify = pipeline("zero-shot-image-classification", model="FOLDER")
classify("picture.png", candidate_labels=["a chest x-ray", "a fundus photograph"], hypothesis_template="{}")""",
    ),
    "onnx": Format(
        _onnx,
        lambda folder: {"onnx": OnnxModel(folder), INT8: OnnxModel(folder, precision="int8")},
        """from mmkd.inference.onnx import OnnxModel
from mmkd.inference.precision import INT8  # ONNX Runtime; PyTorch is not needed
model = OnnxModel("FOLDER")  # precision="int8" for the smaller files
vectors = model.encode_texts(["a chest x-ray"])""",
    ),
}


def write_formats(
    model: OpenClipModel, folder: Path, home: Path, to: list[FormatName] | None
) -> tuple[list[FormatName], dict[str, str]]:
    """Write the formats; returns those that are there, and format -> what of the student is not in it.

    to: those asked for by name; None for all that the student fits. Raises ModelError where a format that was asked
    for cannot hold the whole student.
    """
    written: list[FormatName] = []
    refused: dict[str, str] = {}
    for name in to or ALL:
        try:
            left_out = FORMATS[name].write(model, folder, home)
            written.append(name)
        except ModelError as error:
            if to:
                raise
            left_out = str(error)
        if left_out and to:
            raise ModelError(f"the student does not fit the format {name} whole: {left_out}; {to_transformers.CURE}")
        if left_out:
            refused[name] = left_out
            say(f"export: {name}: {_part(name in written)} is left out: {left_out}")
    if "onnx" in written:
        _describe_for_immich(model, folder)
    return written, refused


def _part(is_there: bool) -> str:
    return "the text tower" if is_there else "the whole format"


def _describe_for_immich(model: OpenClipModel, folder: Path) -> None:
    """Immich reads the context length in the `config.json` that transformers reads; each takes its own keys."""
    path = folder / "config.json"
    described = read_json(path) if path.is_file() else {}
    text = {key: value for key, value in model.config["text_cfg"].items() if not key.startswith("hf_")}
    text.setdefault("context_length", 77)
    own = {"embed_dim": model.dim, "vision_cfg": dict(model.config["vision_cfg"]), "text_cfg": text}
    write_json(path, {**described, **own})
