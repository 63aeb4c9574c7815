"""Unit times that `bench/scale.py --measure` measures on this machine; each in a few seconds, one thread."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np

FILES = 50
PICTURES = 60
SIDE = 512


def decode_s() -> float:
    """Processor seconds to decode a JPEG of 512 x 512 pixels of noise over a gradient, and to resize it to 224."""
    from mmkd.images.decode import decode
    from mmkd.images.transform import from_preprocess

    transform = from_preprocess({"size": 224, "interpolation": "bicubic", "resize_mode": "shortest"})
    data = [noisy_jpeg(seed) for seed in range(PICTURES)]
    transform.pixels(decode(data[0]))
    start = time.process_time()
    for one in data:
        transform.pixels(decode(one))
    return (time.process_time() - start) / PICTURES


def noisy_jpeg(seed: int) -> bytes:
    """A grey gradient with noise, SIDE x SIDE pixels."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    value = np.add.outer(np.linspace(0, 120, SIDE), np.linspace(0, 80, SIDE))[..., None] + rng.normal(
        0, 12, (SIDE, SIDE, 3)
    )
    stream = BytesIO()
    Image.fromarray(value.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def handout_s() -> float:
    """Seconds of the four small files of a unit (taken, heartbeat, done, removed), each synced."""
    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        for number in range(FILES):
            for kind in ("taken", "beat", "done", "gone"):
                draft = Path(name) / f"{number}.{kind}.draft"
                with draft.open("w") as stream:
                    json.dump({"who": os.getpid(), "count": number}, stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                draft.rename(draft.with_suffix(""))
        return (time.perf_counter() - start) / FILES


def results_s() -> float:
    """Processor seconds of five metrics on 1,000 resamples of 2,000 samples of nine classes."""
    import bootstrap as bench

    score_NC, label_N = bench.predictions(2000, 9)
    start = time.process_time()
    bench.timed_engine(score_NC, label_N, 1000)
    return (time.process_time() - start) / 2  # each metric alone, and all at once: twice the work


def load_s() -> float:
    """Processor seconds to load a ViT-B/32 from a folder on a local disk."""
    import torch

    from mmkd.teachers.files.open_clip_folder import architecture, build, save
    from mmkd.teachers.load import load_teacher
    from mmkd.teachers.zoo.settings import TeacherSpec

    with tempfile.TemporaryDirectory() as name:
        save(build(architecture("ViT-B-32")), Path(name) / "model")
        spec = TeacherSpec(name="one", model=f"local-dir:{name}/model", licence="MIT")
        start = time.process_time()
        load_teacher(spec, torch.device("cpu"), "fp32")
        return time.process_time() - start


MEASURES: dict[str, Callable[[], float]] = {
    "decode_s": decode_s,
    "handout_s": handout_s,
    "results_s": results_s,
    "load_s": load_s,
}
"""Name of the figure -> how it is measured here."""
