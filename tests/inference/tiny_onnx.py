"""An export of two small ONNX networks that are written by hand: the mean colour, and the mean of the ids' vectors."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

WORDS = {"[PAD]": 0, "[UNK]": 1, "lung": 2, "heart": 3, "eye": 4}
DIM, SIDE, CONTEXT = 4, 6, 5
COLOUR_3D = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]], np.float32)
WORD_VD = np.random.default_rng(0).normal(size=(len(WORDS), DIM)).astype(np.float32)
FACTS = {
    "dim": DIM,
    "scale": 10.0,
    "context_length": CONTEXT,
    "clean": "lower",
    "padding": 0,
    "literal": False,
    "full": False,
    "preprocess": {"size": [SIDE, SIDE], "mean": [0.5] * 3, "std": [0.25] * 3, "resize_mode": "squash"},
}


def write_tiny_onnx(folder: Path) -> Path:
    """Vectors: normalised mean colour @ COLOUR_3D, and normalised sum of WORD_VD over the words that are no padding."""
    (folder / "visual").mkdir(parents=True)
    (folder / "textual").mkdir()
    (folder / "onnx.json").write_text(json.dumps(FACTS))
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "textual/tokenizer.json"))
    mean = [helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0)]
    mean += [helper.make_node("MatMul", ["mean", "weight"], ["found"]), _unit()]
    weights = {"axes": np.array([2, 3], np.int64), "weight": COLOUR_3D}
    _save(folder / "visual/model.onnx", mean, weights, ("image", TensorProto.FLOAT, ["B", 3, SIDE, SIDE]))
    total = [
        helper.make_node("Gather", ["weight", "text"], ["words"]),
        helper.make_node("ReduceSum", ["words", "axes"], ["found"], keepdims=0),
        _unit(),
    ]
    silent = WORD_VD.copy()
    silent[0] = 0
    weights = {"axes": np.array([1], np.int64), "weight": silent}
    _save(folder / "textual/model.onnx", total, weights, ("text", TensorProto.INT32, ["B", "L"]))
    return folder


def _unit() -> onnx.NodeProto:
    return helper.make_node("LpNormalization", ["found"], ["vector"], axis=-1)


def _save(
    path: Path, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], entry: tuple[str, int, list[object]]
) -> None:
    inputs = [helper.make_tensor_value_info(*entry)]
    outputs = [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["B", DIM])]
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
