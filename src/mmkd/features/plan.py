"""What an extraction will cost, before it is begun: rows, bytes, operations, and seconds measured on this machine.

Time does not depend on the values of weights, so teachers of the zoo are timed as they are built, with random ones:
a plan needs no download.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from mmkd.corpus.schema import Corpus
from mmkd.errors import ModelError
from mmkd.features.engine import patch_widths
from mmkd.teachers.encoders.teacher import Teacher
from mmkd.teachers.encoders.tokens import CaptionTokenizer, Tokens
from mmkd.teachers.files.identity import identity
from mmkd.teachers.load import ADAPTERS, load_teacher, wired
from mmkd.teachers.zoo.entry import zoo_entry
from mmkd.teachers.zoo.settings import ZOO, ExtractSettings, TeacherSpec

CAPTION_TOKENS = 64  # of a figure caption on average (40 words), where there is no corpus to count
TOKENS_PER_WORD = 1.55  # of biomedical captions: 62 tokens for 40 words
ID_BYTES = 36.0
SAMPLED = 1000  # rows whose lengths are looked at
BATCH = {"cpu": 4, "cuda": 64}
VECTOR_BYTES = 2  # float16
ROW_BYTES = 4 + 4 + 0.5  # offsets of id and reason, validity bits


@dataclass(frozen=True)
class TeacherPlan:
    """gflop, seconds, bytes: of one pair. weights: "found", or why they are not. patch_width: 0 without patches."""

    name: str
    dim: int
    weights: str
    gflop: float
    seconds: float
    bytes: float
    patch_width: int = 0


@dataclass(frozen=True)
class ExtractionPlan:
    """rows: of the corpus. device: on which the seconds were measured, one process, model time only."""

    rows: int
    device: str
    teachers: list[TeacherPlan]

    def total(self, field: str) -> float:
        """Of one pair, all teachers together: gflop, seconds or bytes."""
        return float(sum(getattr(teacher, field) for teacher in self.teachers))

    def to_json(self) -> dict[str, Any]:
        """With the totals of a pair and of the whole."""
        sums = {field: self.total(field) for field in ("gflop", "seconds", "bytes")}
        return {
            **asdict(self),
            "per_pair": sums,
            "all_pairs": {name: self.rows * value for name, value in sums.items()},
        }


def plan_extraction(
    specs: Sequence[TeacherSpec],
    settings: ExtractSettings,
    rows: int,
    device: torch.device,
    corpus: Corpus | None = None,
) -> ExtractionPlan:
    """The plan for teachers that are run; lengths of ids and captions are the corpus's, or usual ones without it.

    Raises ModelError for a teacher that is refused, or that is not of the zoo and does not load.
    """
    id_bytes, caption_tokens = lengths(corpus) if corpus else (ID_BYTES, CAPTION_TOKENS)
    teachers = []
    for spec in specs:
        teacher = _untrained(spec, device, settings.precision) if spec.library == ZOO else load_teacher(spec, device)
        gflop, seconds = _cost(teacher, caption_tokens)
        (width,), _ = patch_widths([teacher], settings.patches)
        size = pair_bytes(teacher.dim, id_bytes, settings.patches**2 * width)
        teachers.append(TeacherPlan(spec.name, teacher.dim, _weights(spec), gflop, seconds, size, width))
        del teacher
    return ExtractionPlan(rows, str(device), teachers)


def pair_bytes(dim: int, id_bytes: float = ID_BYTES, patches: int = 0) -> float:
    """Of one teacher's features of a pair: both vectors, the numbers of its patches, the id, offsets and validity."""
    return VECTOR_BYTES * (2 * dim + patches) + id_bytes + ROW_BYTES


def lengths(corpus: Corpus) -> tuple[float, int]:
    """Mean bytes of an id and mean tokens of a caption, from some of the rows."""
    table = corpus.take(np.unique(np.linspace(0, len(corpus) - 1, SAMPLED).astype(np.int64)))
    ids, captions = table.column("id").to_pylist(), table.column("caption").to_pylist()
    told = [caption for caption in captions if caption]
    words = sum(len(caption.split()) for caption in told) / max(len(told), 1)
    return sum(len(name.encode()) for name in ids) / len(ids), round(TOKENS_PER_WORD * words) + 2


def _untrained(spec: TeacherSpec, device: torch.device, precision: str) -> Teacher:
    entry = zoo_entry(spec.model, spec.variant)
    network = ADAPTERS[str(entry.adapter)].build(entry)

    def shortest(captions: Sequence[str]) -> Tokens:
        """In place of a tokenizer, whose files a plan does not need: captions of two tokens."""
        ids_NL = torch.ones(len(captions), entry.context_length or 77, dtype=torch.int32)
        return Tokens(ids_NL, torch.full((len(captions),), 2))

    tokenizer = CaptionTokenizer(shortest, "none", entry.padding)
    return Teacher(spec.name, spec.licence, wired(entry, network, tokenizer), device, precision)


def _weights(spec: TeacherSpec) -> str:
    try:
        identity(spec, download=False)
    except ModelError as error:
        return f"missing: {error}"
    return "found"


def _cost(teacher: Teacher, caption_tokens: int) -> tuple[float, float]:
    """Giga-operations (a multiplication and an addition are two) and seconds of a pair."""
    count = BATCH[teacher.device.type]
    pixels = teacher.transform.pixels(Image.new("RGB", (320, 240)))
    image_BCHW = pixels.expand(count, *pixels.shape).contiguous()
    tokens = _tokens(teacher, count, caption_tokens)
    steps = [partial(teacher.encode_images, image_BCHW), partial(teacher.encode_tokens, tokens)]
    torch.backends.mha.set_fastpath_enabled(False)  # the fused operator is not counted
    try:
        with FlopCounterMode(display=False) as counter:
            for step in steps:
                step()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    seconds = 0.0
    for step in steps:  # the counting pass has warmed everything up
        start = time.perf_counter()
        step()
        seconds += time.perf_counter() - start
    return counter.get_total_flops() / count / 1e9, seconds / count


def _tokens(teacher: Teacher, count: int, caption_tokens: int) -> Tokens:
    """Captions of the given length, as far as the context goes; only their length matters."""
    known = teacher.tokenizer([""])
    context = known.ids_NL.shape[1]
    length = min(caption_tokens, context)
    ids_BL = known.ids_NL.expand(count, context).clone()
    ids_BL[:, :length] = torch.arange(1, length + 1, dtype=torch.int32)
    return Tokens(ids_BL, torch.full((count,), length))
