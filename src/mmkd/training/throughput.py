"""How fast training goes: pairs a second, waiting for data, model FLOPs, memory.

FLOPs are counted, not estimated: one image and one caption of each width go through the same network without weights,
where shapes only are computed. A multiplication and an addition are two. Training is three times the forward pass, four
times where the average of the weights teaches; computing activations again for `grad_checkpointing` or `micro_batch`
is no useful work and does not count.
"""

import resource
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from mmkd.progress import say
from mmkd.teachers.files.open_clip_folder import OpenClipModel, build_network
from mmkd.teachers.weightless import CHANNELS, gflop_of, weightless
from mmkd.training.batches import PairBatch
from mmkd.training.engine import Engine
from mmkd.training.towers import StudentTowers, embed

TRAINING = 3  # times the forward pass: the gradients of inputs and of weights cost as much each
GIGA_IN_TERA = 1e3
UNCOUNTABLE = (DataDependentOutputException, DynamicOutputShapeException)

# dense bf16 TFLOP/s by the vendors' data sheets; all words of a name must stand in the device's, most words win
PEAK_TFLOPS: Mapping[str, float] = {
    "A10": 125,
    "A100": 312,
    "B200": 2250,
    "GH200": 989,
    "H100": 989,
    "H100 NVL": 835,
    "H100 PCIe": 756,
    "H200": 989,
    "L4": 121,
    "L40S": 362,
    "RTX 3090": 71,
    "RTX 4090": 165,
    "RTX A6000": 155,
}


def peak_tflops(device_name: str) -> float | None:
    """Of a GPU by the name that CUDA gives it, None where it is not in the table."""
    words = set(device_name.replace("-", " ").split())
    fitting = [name for name in PEAK_TFLOPS if set(name.split()) <= words]
    return PEAK_TFLOPS[max(fitting, key=lambda name: len(name.split()))] if fitting else None


def forward_tflop(model: OpenClipModel, widths: list[int]) -> tuple[float, dict[int, float]] | None:
    """Tera-operations of a forward pass of one image, and of one caption of each width; None where none can be counted.

    Towers whose shapes depend on values cannot be counted.
    """
    try:
        build = partial(build_network, model.config, model.preprocess)
        # what wants gradients trips torch's counter
        with weightless(lambda: build().requires_grad_(False)) as network, torch.no_grad():
            size = model.preprocess["size"]
            pixels = torch.empty(1, CHANNELS, *((size, size) if isinstance(size, int) else size))
            image = gflop_of(lambda: network.encode_image(pixels)) / GIGA_IN_TERA
            both = {width: gflop_of(partial(_pair, network, pixels, width)) for width in widths}
    except UNCOUNTABLE as error:
        say(f"  the student's operations cannot be counted ({error}); the records go without them")
        return None
    return image, {width: found / GIGA_IN_TERA - image for width, found in both.items()}


def _pair(network: nn.Module, pixels: torch.Tensor, width: int) -> object:
    """One image and one caption that is as wide as its batch."""
    return embed(network, pixels, torch.ones(1, width, dtype=torch.long), np.array([width]))


class Throughput:
    """Counts steps and says what they came to. Seconds are those between two records.

    passes: forward passes that the useful work of a step equals.
    """

    def __init__(self, engine: Engine, model: OpenClipModel, batch_size: int, passes: int = TRAINING) -> None:
        self.engine, self.batch_size, self.passes = engine, batch_size, passes
        self._towers = next(module for module in engine.towers.modules() if isinstance(module, StudentTowers))
        self._model = model
        self._image_tflop: float | None = 0.0
        self._text_tflop: dict[int, float] = {}
        self._peak = _peak(engine)
        self._waited_before = self._waited = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin to count anew, after something that is not training."""
        self._steps, self._widths = 0, Counter[int]()
        self._waited_before, self._start = self._waited, time.perf_counter()

    def add(self, batch: PairBatch, waited: float) -> None:
        """Count a step. waited: seconds that the run has waited for data so far, in all."""
        self._steps, self._waited = self._steps + 1, waited
        size, context = len(batch.length_B), batch.token_BL.shape[1]
        part = self.engine.machine.micro_batch or size
        for first in range(0, size, part):
            for index_G, width in self._towers.groups(batch.length_B[first : first + part], context):
                self._widths[width] += len(index_G)

    def record(self) -> dict[str, float]:
        """Of the steps since the record before, to be called once the device has caught up with the host.

        pairs_per_s: of all processes. wait: share of the time spent waiting for data. tflops: useful ones a second and
        process. mfu: their share of the device's bf16 peak, where that is known. memory_gb: the most that was allocated
        on the GPU, or the most that the process held in memory.
        """
        tflop = self._tflop()  # a new width is counted, outside of the time
        seconds = max(time.perf_counter() - self._start - self._counting_s, 1e-9)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
        if self.engine.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(self.engine.device)
        found = {
            "pairs_per_s": self._steps * self.batch_size / seconds,
            "wait": (self._waited - self._waited_before) / seconds,
            "memory_gb": memory / 1e9,
        }
        if tflop is not None:
            found["tflops"] = tflop / seconds
        if tflop is not None and self._peak is not None:
            found["mfu"] = tflop / seconds / self._peak
        self.restart()
        return found

    def _tflop(self) -> float | None:
        start = time.perf_counter()
        new = sorted(set(self._widths) - set(self._text_tflop))
        if self._image_tflop is not None and new:
            counted = forward_tflop(self._model, new)
            self._image_tflop = None if counted is None else counted[0]
            self._text_tflop |= {} if counted is None else counted[1]
        self._counting_s = time.perf_counter() - start
        if self._image_tflop is None:
            return None
        text = sum(count * self._text_tflop[width] for width, count in self._widths.items())
        return self.passes * (sum(self._widths.values()) * self._image_tflop + text)


def _peak(engine: Engine) -> float | None:
    if engine.machine.tflops is not None:
        return engine.machine.tflops
    return peak_tflops(torch.cuda.get_device_name(engine.device)) if engine.device.type == "cuda" else None
