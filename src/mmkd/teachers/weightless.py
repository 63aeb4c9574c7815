"""Networks without weights, to count what they would do: shapes go through them, nothing is allocated or computed.

A network is built on torch's `meta` device and then stands on a CPU of fake tensors, where, other than on `meta`, every
operator goes the way that it goes on a real device. Letters: B inputs, L tokens.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mmkd.errors import ModelError
from mmkd.teachers.files.configs import transformers_config
from mmkd.teachers.load import ADAPTERS
from mmkd.teachers.zoo.entry import zoo, zoo_entry
from mmkd.teachers.zoo.settings import TeacherSpec

CHANNELS = 3
GIGA = 1e9


@contextmanager
def weightless(build: Callable[[], Any]) -> Iterator[Any]:
    """The network in evaluation mode; tensors that are made in the context have no values either."""
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused operator is not counted
    try:
        with torch.device("meta"):
            network = build()
        with FakeTensorMode():
            for module in network.modules():
                for name, value in module._parameters.items():
                    if value is not None:
                        empty = torch.empty(value.shape, dtype=value.dtype)
                        module._parameters[name] = nn.Parameter(empty, requires_grad=value.requires_grad)
                for name, value in module._buffers.items():
                    if value is not None:
                        module._buffers[name] = torch.empty(value.shape, dtype=value.dtype)
            yield network.eval()
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)


def gflop_of(forward: Callable[[], object]) -> float:
    """Giga-operations of a call; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter:
        forward()
    return float(counter.get_total_flops()) / GIGA


@dataclass(frozen=True)
class TeacherCount:
    """Of one pair. dim: of the vectors. patch_width: of those of patches, 0 where it gives none."""

    name: str
    dim: int
    gflop: float
    patch_width: int = 0


def count_teacher(spec: TeacherSpec, caption_tokens: int, grid: int = 0) -> TeacherCount:
    """What a teacher of the zoo does with an image and a caption; grid: side of the grid of patches, 0 without.

    Raises ModelError for one that is refused.
    """
    entry = zoo_entry(spec.model, spec.variant)
    adapter = ADAPTERS[str(entry.adapter)]
    size = entry.preprocess.get("size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    context = entry.context_length or 77
    length = context if entry.padding == "full" else min(caption_tokens, context)
    with weightless(lambda: adapter.build(entry)) as network, torch.no_grad():
        image_BCHW = torch.empty(1, CHANNELS, height, width)
        ids_BL, length_B = torch.zeros(1, length, dtype=torch.long), torch.full((1,), length)
        gflop = gflop_of(lambda: (adapter.image(network, image_BCHW), adapter.text(network, ids_BL, length_B)))
        patch_width = 0
        if grid:
            with suppress(ModelError):  # it gives no patches
                patch_width = int(adapter.patches(network, grid)(image_BCHW)[1].shape[2])
    return TeacherCount(spec.name, entry.dim or 0, gflop, patch_width)


@contextmanager
def bert_at_hand(config: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """An open_clip `model_cfg` whose BERT needs no network: (config, what was assumed or ""), while the context lasts.

    A BERT that is named by a hub id is looked for in the hub's cache; if it is not there, its size is that of the zoo's
    entries which name the same one, or BERT-base.
    """
    found = deepcopy(dict(config))
    name = found.get("text_cfg", {}).get("hf_model_name", "")
    with tempfile.TemporaryDirectory() as folder:
        assumed = ""
        if name and not Path(name).is_dir():
            assumed = _write_bert(name, folder)
            found["text_cfg"] |= {"hf_model_name": folder, "hf_model_pretrained": False}
        yield found, assumed


def _write_bert(name: str, folder: str) -> str:
    from huggingface_hub import try_to_load_from_cache
    from transformers import BertConfig

    try:
        found = try_to_load_from_cache(name, "config.json")
        if not isinstance(found, str):
            raise FileNotFoundError(name)
        transformers_config(Path(found).parent).save_pretrained(folder)
    except (OSError, ValueError):
        known = [one.bert for one in zoo().values() if one.config.get("text_cfg", {}).get("hf_model_name") == name]
        BertConfig(**(known[0] if known else {})).save_pretrained(folder)
        return (
            f"{name} is not in the hub's cache: taken as a BERT of {'the size the zoo knows' if known else 'base size'}"
        )
    return ""
