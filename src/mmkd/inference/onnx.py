"""A model in ONNX Runtime, from the files that `mmkd export --to onnx` writes: it starts without PyTorch.

N pictures, T texts, B of a batch, D dimensions, L tokens, C x H x W pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from mmkd.errors import ConfigError, ModelError
from mmkd.folders.digests import remembered_digest
from mmkd.folders.stage import content_digest
from mmkd.folders.sums import check_sums
from mmkd.inference.geometry import Geometry
from mmkd.inference.model import in_batches
from mmkd.inference.words import CLEAN, Words
from mmkd.statistics.metrics import Array

FACTS = "onnx.json"
IMAGE, TEXT = "visual/model{}.onnx", "textual/model{}.onnx"
TOKENIZER = "textual/tokenizer.json"
TEXT_BATCH = 64
SUFFIX = {"fp32": "", "int8": ".int8"}
INSTALL = "install it with: pip install 'mmkd[onnx]'"


class OnnxFacts(BaseModel):
    """`onnx.json`: what the model files do not say. scale: what cosines are multiplied with before a softmax.

    full: captions are padded to the context length; otherwise to the longest of a batch. preprocess: open_clip's
    `preprocess_cfg`. clean, padding, literal: see `Words`. source: digest of the open_clip model in the same folder,
    whose vectors the fp32 files give as well; "" where there is none. files: SHA-256 of the model files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    dim: int
    scale: float
    context_length: int
    clean: str
    padding: int
    literal: bool
    full: bool
    preprocess: dict[str, Any]
    source: str = ""
    files: dict[str, str] = {}


class OnnxModel:
    """A model of an exported folder. threads: of each call, 0 for all processors. precision: `fp32` or `int8`.

    Several threads may call one model at once. Raises ModelError for a folder that is not such an export, or of which
    a file was changed since.
    """

    def __init__(self, folder: Path, threads: int = 0, precision: str = "fp32", name: str = "") -> None:
        if precision not in SUFFIX:
            raise ConfigError(f"precision {precision!r}: ONNX files are {' or '.join(SUFFIX)}; take one of them")
        check_sums(folder)
        self._facts = facts = read_facts(folder)
        self.name, self.dim, self.scale = name or folder.resolve().name, facts.dim, facts.scale
        image, text = (folder / part.format(SUFFIX[precision]) for part in (IMAGE, TEXT))
        if missing := [str(path) for path in (image, text, folder / TOKENIZER) if not path.is_file()]:
            raise ModelError(f"{folder}: no {', '.join(missing)}; export it again: mmkd export --to onnx")
        own = (*(path.relative_to(folder).as_posix() for path in (image, text)), TOKENIZER, FACTS)
        check_files(folder, facts)
        whole = content_digest(folder, own, remember=True)
        self.digest = facts.source if facts.source and precision == "fp32" else whole
        try:
            self._geometry = Geometry(facts.preprocess)
            self._words = Words(folder / TOKENIZER, facts.context_length, facts.clean, facts.padding, facts.literal)
            self._image, self._text = session(image, threads), session(text, threads)
        except ModelError:
            raise
        except Exception as error:  # tokenizers and onnxruntime raise their own
            raise ModelError(f"{folder}: the ONNX model does not load: {error}") from error

    def prepare(self, image: Image.Image) -> np.ndarray:
        return self._geometry.pixels(image)

    def encode_prepared(self, image_BCHW: np.ndarray) -> Array:
        if not len(image_BCHW):
            return np.empty((0, self.dim), np.float32)
        return _run(self._image, self._geometry.normalised(image_BCHW))

    def encode_images(self, images: Sequence[Image.Image]) -> Array:
        return in_batches(self, images)

    def tokens(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids (T, L) as the student's own tokenizer gives them, and their number (T,)."""
        return self._words(texts)

    def count_tokens(self, texts: Sequence[str]) -> int:
        return int(self._words(texts)[1].sum())

    def encode_texts(self, texts: Sequence[str]) -> Array:
        ids_TL, length_T = self._words(texts)
        vector_TD = np.empty((len(texts), self.dim), np.float32)
        order_T = np.argsort(length_T, kind="stable")  # texts of similar length go together: little padding
        for first in range(0, len(texts), TEXT_BATCH):
            index_B = order_T[first : first + TEXT_BATCH]
            width = self._facts.context_length if self._facts.full else length_T[index_B[-1]]
            vector_TD[index_B] = _run(self._text, ids_TL[index_B, :width])
        return vector_TD


def read_facts(folder: Path) -> OnnxFacts:
    """Of an exported folder. Raises ModelError where they are missing or wrong."""
    path = folder / FACTS
    if not path.is_file():
        raise ModelError(f"{folder}: no {FACTS} found; expected the folder of 'mmkd export --to onnx'")
    try:
        facts = OnnxFacts.model_validate_json(path.read_bytes())
        if facts.clean not in CLEAN:
            raise ValueError(f"clean is {facts.clean!r}; expected one of {', '.join(CLEAN)}")
    except (ValidationError, ValueError) as error:
        raise ModelError(f"{path}: not what 'mmkd export' writes ({error}); export the model again") from error
    return facts


def check_files(folder: Path, facts: OnnxFacts) -> None:
    """Raise ModelError for a model file that is not the one that was exported."""
    for name, digest in facts.files.items():
        path = path_below(folder, name)
        if path.is_file() and remembered_digest(path) != digest:
            raise ModelError(f"{path}: not the file that was exported; export the model again: mmkd export --to onnx")


def onnx_digest(folder: Path) -> str:
    """SHA-256 of a folder's files for ONNX Runtime, preprocessing and tokenizer among them; "" where it has none."""
    own = (FACTS, TOKENIZER, *(part.format(suffix) for part in (IMAGE, TEXT) for suffix in SUFFIX.values()))
    return content_digest(folder, own, remember=True) if (folder / FACTS).is_file() else ""


def path_below(folder: Path, name: str) -> Path:
    """One of the model files. Raises ModelError for any other name."""
    if name not in {part.format(suffix) for part in (IMAGE, TEXT) for suffix in SUFFIX.values()}:
        raise ModelError(f"{folder / FACTS}: no model file is called {name!r}; export the model again")
    return folder / name


def has_onnx(folder: Path, precision: str = "fp32") -> bool:
    """Whether a folder has a whole model for ONNX Runtime."""
    own = [part.format(SUFFIX[precision]) for part in (IMAGE, TEXT)]
    return all((folder / name).is_file() for name in (FACTS, *own, TOKENIZER))


def session(path: Path, threads: int = 0) -> Any:
    """An ONNX file, loaded on the processors. Raises ModelError where ONNX Runtime is missing."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(f"{path} needs ONNX Runtime ({error}); {INSTALL}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors: its warnings are about its own optimisations
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the processors meanwhile
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _run(model: Any, batch: np.ndarray) -> Array:
    """The only output for the only input."""
    found: Array = model.run(None, {model.get_inputs()[0].name: batch})[0]
    return found
