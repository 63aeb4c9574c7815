"""The student as ONNX files in Immich's layout: `visual/`, `textual/`, each with a `model.onnx` of its own.

The input `image` is float32 (B, 3, H, W), the input `text` int32 (B, L); the output is a vector of length 1 (B, D). The
batch is of any size, and the text of any length where padding changes nothing.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.errors import ModelError
from mmkd.export.tokenizer import Tokenizer, save_tokenizer, tokenizer_of
from mmkd.folders.atomic import write_json
from mmkd.inference.onnx import FACTS, IMAGE, INSTALL, SUFFIX, TEXT, OnnxFacts
from mmkd.teachers.adapters.open_clip import padding_of
from mmkd.teachers.files.identity import file_digest, model_digest
from mmkd.teachers.files.open_clip_folder import CONFIG, OpenClipModel

OPSET = 20  # the highest that PyTorch's exporter writes unasked; every ONNX Runtime since 1.17 reads it
LARGEST = 2_000_000_000  # bytes of one file: the format has 31 bits for them
MODEL_FILES = [part.format(suffix) for part in (IMAGE, TEXT) for suffix in SUFFIX.values()]
QUANTISED = ["MatMul", "Gemm", "Gather"]  # convolutions lose more than they win without calibration


class _Images(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.visual = network.visual

    def forward(self, image: Tensor) -> Tensor:
        return F.normalize(self.visual(image), dim=-1)


class _Texts(nn.Module):
    """Any text tower; open_clip's own causal one is cut to the length of the texts."""

    def __init__(self, network: Any, cuts: bool) -> None:
        super().__init__()
        self.network, self.cuts = network, cuts

    def forward(self, text: Tensor) -> Tensor:
        return F.normalize(self._cut(text) if self.cuts else self.network.encode_text(text), dim=-1)

    def _cut(self, text: Tensor) -> Tensor:
        tower: Any = getattr(self.network, "text", self.network)
        width = text.shape[1]
        vector_BLW = tower.token_embedding(text) + tower.positional_embedding[:width]
        vector_BLW = tower.ln_final(tower.transformer(vector_BLW, attn_mask=tower.attn_mask[:width, :width]))
        pool, end = pooling_of(tower)
        last_B = (text if pool == "argmax" else (text == end).int()).argmax(dim=-1)
        return projected(tower.text_projection, vector_BLW[torch.arange(len(text)), last_B])


def pooling_of(tower: Any) -> tuple[str, int]:
    """How open_clip's own text tower finds the end of a text, and the id that it looks for."""
    if hasattr(tower, "text_pool_type"):  # of a CLIP, whose text tower is no module of its own
        return tower.text_pool_type, tower.text_eos_id
    return tower.pool_type, tower.eos_id


def projected(projection: Any, vector_BW: Tensor) -> Tensor:
    if projection is None:
        return vector_BW
    found: Tensor = projection(vector_BW) if isinstance(projection, nn.Linear) else vector_BW @ projection
    return found


def write(model: OpenClipModel, folder: Path) -> None:
    """All files of the format. Raises ModelError for a student that does not fit it."""
    try:
        tokenizer = tokenizer_of(model)
    except ValueError as error:
        raise ModelError(f"no ONNX files: {error}; take onnx out of --to") from error
    check_room(model.network)
    full = padding_of(model.network) == "full"
    save_tokenizer(tokenizer, folder / "textual")
    write_json(folder / "visual" / "preprocess_cfg.json", model.preprocess)
    size = model.preprocess["size"]
    height, width = (size, size) if isinstance(size, int) else size
    write_module(_Images(model.network), torch.zeros(2, 3, height, width), "image", folder / IMAGE.format(""), (0,))
    context = model.config["text_cfg"].get("context_length", 77)
    hugging = hasattr(getattr(model.network, "text", None), "pooler")
    text_BL = torch.full((2, context if full else context - 1), tokenizer.end or 1, dtype=torch.int32)
    texts = _Texts(model.network, cuts=not full and not hugging)
    write_module(texts, text_BL, "text", folder / TEXT.format(""), (0,) if full else (0, 1))
    for name in (IMAGE, TEXT):
        _quantise(folder / name.format(""), folder / name.format(".int8"))
    write_facts(model, tokenizer, full, folder)


def write_facts(model: OpenClipModel, tokenizer: Tokenizer, full: bool, folder: Path) -> None:
    scale: Any = model.network.logit_scale
    facts = OnnxFacts(
        dim=model.dim,
        scale=float(scale.detach().float().exp().max()),
        context_length=model.config["text_cfg"].get("context_length", 77),
        clean=tokenizer.clean,
        padding=tokenizer.padding,
        literal=tokenizer.literal,
        full=full,
        preprocess=model.preprocess,
        source=model_digest(folder) if (folder / CONFIG).is_file() else "",
        files={name: file_digest(folder / name) for name in MODEL_FILES if (folder / name).is_file()},
    )
    write_json(folder / FACTS, facts.model_dump())


def check_room(network: nn.Module) -> None:
    """Raises ModelError for a network that one file cannot hold."""
    size = sum(p.numel() * 4 for p in network.parameters())
    if size > LARGEST:
        raise ModelError(f"no ONNX files: {size:,} bytes of weights, one file holds {LARGEST:,}; take onnx out of --to")


def write_module(
    module: nn.Module, example: Tensor, name: str, path: Path, dynamic: tuple[int, ...], output: str = ""
) -> None:
    """As an ONNX file. name: of its input. dynamic: axes of any size. output: its name. Raises ModelError."""
    try:
        import onnx
        import onnxscript  # noqa: F401  # what PyTorch's exporter is written in
    except ImportError as error:
        raise ModelError(f"ONNX files need onnx and onnxscript ({error}); {INSTALL}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[name],
            output_names=[output or f"unit_{name}_vector"],
            dynamic_shapes={name: {axis: torch.export.Dim.DYNAMIC for axis in dynamic}},
        )
    assert program is not None
    found = program.model_proto
    _without_origin(found)
    onnx.save(found, str(path))


def _without_origin(found: Any) -> None:
    """Without the notes on the program that the file was made by: lines of code, and folders of this machine."""
    found.doc_string = ""
    graphs = [found.graph, *found.functions]
    for part in [found, *graphs, *(node for graph in graphs for node in graph.node), *_values(found.graph)]:
        del part.metadata_props[:]
        part.doc_string = ""


def _values(graph: Any) -> Iterator[Any]:
    yield from graph.input
    yield from graph.output
    yield from graph.value_info
    yield from graph.initializer


def _quantise(path: Path, out: Path) -> None:
    """8-bit weights of matrix products and tables. Seven bits of them are used: older processors add up in 16."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with alone():
        quantize_dynamic(
            path, out, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True, op_types_to_quantize=QUANTISED
        )


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """The exporters print their progress and warn of what they handle themselves; attention goes its ordinary way."""
    fast, before = torch.backends.mha.get_fastpath_enabled(), logging.root.manager.disable
    torch.backends.mha.set_fastpath_enabled(False)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        torch.backends.mha.set_fastpath_enabled(fast)
