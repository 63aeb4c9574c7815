"""An image tower and its classifier as one file: pixels in, probabilities of the classes out.

The input `image` is float32 (1, 3, H, W): RGB from 0 to 255, of the model's size. The output is (1, C).
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.adapt.classifier import Classifier
from mmkd.errors import ConfigError, ModelError
from mmkd.export.to_onnx import alone, check_room, write_module
from mmkd.folders.atomic import atomic_file, write_json
from mmkd.inference.geometry import Geometry
from mmkd.inference.model import open_model
from mmkd.inference.onnx import session
from mmkd.randomness import Purpose, generator
from mmkd.statistics.metrics import Array
from mmkd.teachers.files.open_clip_folder import OpenClipModel, load

SUFFIXES = (".onnx", ".pt")
TOLERANCE = 1e-4  # of a probability
CHECKED = 8  # random pictures


class _Probe(nn.Module):
    mean: Tensor
    std: Tensor
    weight_DC: Tensor

    def __init__(self, model: OpenClipModel, geometry: Geometry, classifier: Classifier) -> None:
        super().__init__()
        network: Any = model.network
        self.visual = network.visual
        self.register_buffer("mean", 255 * torch.from_numpy(geometry.mean))
        self.register_buffer("std", 255 * torch.from_numpy(geometry.std))
        self.register_buffer("weight_DC", torch.from_numpy(classifier.weight_CD.T / classifier.facts.temperature))

    def forward(self, image: Tensor) -> Tensor:
        vector_BD: Tensor = F.normalize(self.visual((image - self.mean) / self.std), dim=-1)
        return torch.softmax(vector_BD @ self.weight_DC, dim=-1)


def write_probe(folder: Path, out: Path) -> float:
    """The model and classifier of a folder of `mmkd adapt` in a file `.onnx` or `.pt` (TorchScript); what to feed it,
    and the names of its outputs, as JSON beside it.

    Returns the largest difference from the probabilities that mmkd computes. Raises ConfigError, DataError, ModelError.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--probe {out}: expected a name that ends in {' or '.join(SUFFIXES)}")
    classifier = Classifier.of_model(folder) or Classifier.load(folder)  # which says that there is none
    model = load(folder)
    check_room(model.network)
    geometry = Geometry(model.preprocess)
    probe = _Probe(model, geometry, classifier).eval()
    with TemporaryDirectory() as place:
        draft = Path(place) / f"probe{out.suffix.lower()}"
        _write(probe, torch.zeros(1, 3, *geometry.size), draft)
        worst = _difference(folder, classifier, geometry, draft)
        if not worst <= TOLERANCE:
            raise ModelError(f"{out}: probabilities differ by {worst:.2g} from the model's, expected {TOLERANCE:g}")
        with atomic_file(out) as stream:
            stream.write(draft.read_bytes())
    write_json(out.with_suffix(".json"), _facts(classifier, geometry))
    return worst


def _write(probe: nn.Module, example: Tensor, path: Path) -> None:
    """One picture at a time: OpenCV, which QuPath reads ONNX with, refuses a batch of any size."""
    if path.suffix == ".onnx":
        write_module(probe, example, "image", path, (), "probability")
        return
    with alone(), torch.inference_mode():
        torch.jit.save(torch.jit.trace(probe, example), path)  # type: ignore[no-untyped-call]


def _difference(folder: Path, classifier: Classifier, geometry: Geometry, path: Path) -> float:
    pixel_NCHW = generator(0, Purpose.PROBE_CHECK).integers(0, 256, (CHECKED, 3, *geometry.size), np.uint8)
    wanted_NC = classifier.probabilities(open_model(str(folder), "cpu").encode_prepared(pixel_NCHW))
    found_NC = np.concatenate([_answer(path, one[None].astype(np.float32)) for one in pixel_NCHW])
    return float(np.abs(found_NC - wanted_NC).max())


def _answer(path: Path, image: Array) -> Array:
    if path.suffix == ".onnx":
        return np.asarray(session(path).run(None, {"image": image})[0])
    with alone(), torch.inference_mode():
        return np.asarray(torch.jit.load(path)(torch.from_numpy(image)))  # type: ignore[no-untyped-call]


def _facts(classifier: Classifier, geometry: Geometry) -> dict[str, Any]:
    height, width = geometry.size
    facts = classifier.facts
    return {
        "classes": facts.classes,
        "width": width,
        "height": height,
        "input": "float32 (1, 3, height, width), RGB, 0 to 255",
        "temperature_note": facts.temperature_note,
        "gain": facts.gain,
        "model": facts.model,
        "model_digest": facts.model_digest,
    }
