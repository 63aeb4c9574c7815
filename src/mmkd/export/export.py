"""The student in the formats of other tools, one folder for all, checked against the student before it is published."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from mmkd.errors import ModelError
from mmkd.export import to_transformers
from mmkd.export.agreement import TOLERANCE, Agreement, Encoder, Vectors, agreement, encoded, probabilities
from mmkd.export.checksums import sign, write_sums
from mmkd.export.formats import FORMATS, RESIZED, write_formats
from mmkd.export.sample import Sample
from mmkd.export.settings import ExportSettings, FormatName
from mmkd.export.to_open_clip import Original
from mmkd.folders.atomic import write_json
from mmkd.images.transform import from_compose
from mmkd.inference.precision import ALIKE, FIGURES, INT8
from mmkd.inference.words import CLEAN
from mmkd.progress import say, track
from mmkd.statistics.metrics import Array
from mmkd.student.prefix import first_dimensions
from mmkd.teachers.files import open_clip_folder
from mmkd.teachers.files.open_clip_folder import OpenClipModel

CARD = "README.md"
PIPED = 8  # pictures through transformers' pipeline, which encodes all texts for each


@dataclass(frozen=True)
class Exported:
    """What was written and found. refused: format -> what of the student is not in it. agreements: by program.

    int8: rows of results of the run's test sets, of the student as ONNX files with 8-bit weights.
    """

    formats: Sequence[FormatName]
    refused: Mapping[str, str]
    agreements: Mapping[str, Agreement]
    sample: str
    int8: Sequence[Mapping[str, Any]] = field(default_factory=list)


def export(
    student: Path,
    folder: Path,
    home: Path,
    settings: ExportSettings,
    sample: Sample,
    card: Callable[[Exported], str],
    int8: Callable[[Path], Sequence[Mapping[str, Any]]] = lambda folder: [],
) -> dict[str, int]:
    """Write the formats, prove that each gives the student's outputs, write the card; returns counts.

    home: the folder's final place. card: its text. int8: results of the ONNX files with 8-bit weights in a folder.
    Raises ModelError with figures where a format differs from the student.
    """
    model = open_clip_folder.load(student)
    if settings.dim is not None and settings.dim != model.dim:
        model = first_dimensions(model, settings.dim)
    formats, refused = write_formats(model, folder, home, settings.to)
    found = compare(model, folder, formats, sample)
    rows = int8(folder) if "onnx" in formats else []
    exported = Exported(formats, refused, found, sample.origin, rows)
    figures = {name: one.plain for name, one in found.items()}
    write_json(folder / FIGURES, {"sample": sample.origin, "tolerance": TOLERANCE, "programs": figures, "int8": rows})
    (folder / CARD).write_text(card(exported), encoding="utf-8")
    write_sums(folder)
    if settings.sign is not None:
        sign(folder, settings.sign)
    return {
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "formats": len(formats),
        **({"formats_without_a_part": len(refused)} if refused else {}),
        "pictures_compared": max(one.pictures for one in found.values()),
    }


def compare(model: OpenClipModel, folder: Path, formats: Sequence[FormatName], sample: Sample) -> dict[str, Agreement]:
    """Every program that opens the folder beside the student. Raises ModelError where one differs."""
    clean = CLEAN[(model.config["text_cfg"].get("tokenizer_kwargs") or {}).get("clean", "lower")]
    texts = list(dict.fromkeys(clean(text) for text in sample.texts))
    original = Original(model)
    encoders: dict[str, Encoder] = {"student": original}
    for name in formats:
        encoders |= FORMATS[name].opened(folder)
    _check_transform(original, encoders)
    geometry = from_compose(model.transform).geometry
    if "transformers" in encoders:
        encoders["transformers"] = Prepared(encoders["transformers"], geometry)
    images = track(sample.images, "compare", sample.count, "pictures")
    vectors = encoded(encoders, images, texts)
    scale = scale_of(model)
    expected = vectors.pop("student")
    found = {name: agreement(expected, one, scale) for name, one in vectors.items()}
    for program, one in found.items():
        if program not in (RESIZED, INT8):
            one.check(program)
        elif one.top1 < ALIKE * one.pictures:
            say(f"export: {program}: the student's text is first on {one.top1:,} of {one.pictures:,} pictures only")
    if "transformers" in formats and vectors["transformers"].text_TD is not None:
        first = [geometry(image) for image in islice(iter(sample.images), PIPED)]
        _check_pipeline(folder, first, texts, expected, scale)
    return found


def _check_pipeline(
    folder: Path, images: Sequence[Image.Image], texts: Sequence[str], expected: Vectors, scale: float
) -> None:
    places = to_transformers.fitting(folder, texts)
    if not places or not images or expected.text_TD is None:
        return
    expected_NT = probabilities(expected.image_ND[: len(images)], expected.text_TD[places], scale)
    found_NT = to_transformers.piped(folder, images, [texts[place] for place in places])
    worst = float(abs(expected_NT - found_NT).max())
    if worst > TOLERANCE:
        raise ModelError(
            f"transformers' pipeline differs from the student: probabilities by {worst:.1e} (at most {TOLERANCE:g}); "
            "nothing was published. Leave the format out with --to, and report it"
        )


def _check_transform(original: Original, encoders: Mapping[str, Any]) -> None:
    if "open_clip" in encoders and repr(encoders["open_clip"].transform) != repr(original.transform):
        raise ModelError(
            f"open_clip opens the export with another transform than the student's: "
            f"{encoders['open_clip'].transform!r}, not {original.transform!r}"
        )


def scale_of(model: OpenClipModel) -> float:
    scale: Any = model.network.logit_scale
    return float(scale.detach().float().exp().max())


class Prepared:
    """An encoder that gets pictures of the model's size, as open_clip makes them."""

    def __init__(self, encoder: Encoder, geometry: Callable[[Image.Image], Image.Image]) -> None:
        self._encoder, self._geometry = encoder, geometry

    def encode_images(self, images: Sequence[Image.Image]) -> Array:
        return self._encoder.encode_images([self._geometry(image) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Array | None:
        return self._encoder.encode_texts(texts)
