"""Where the processor time of a request goes: decoding, resizing, and the model in PyTorch and in ONNX Runtime.

    python bench/serve_parts.py FOLDER

FOLDER is what `bench/serve.py --folder` keeps of a model. One thread; milliseconds of one picture of 512 x 512 pixels.
Under each ONNX file stands which share of its time its operators take.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import open_clip
import torch
from serve_load import pictures

from mmkd.images.decode import decode
from mmkd.inference.onnx import IMAGE, SUFFIX, OnnxModel

REPEATS, SHOWN = 5, 6


def processor_ms(work: Callable[[], Any]) -> float:
    """The least of several calls, after one that warms up."""
    found = []
    for _ in range(REPEATS + 1):
        begin = time.process_time()
        work()
        found.append(1000 * (time.process_time() - begin))
    return min(found[1:])


def operators(path: Path, image_BCHW: np.ndarray) -> dict[str, float]:
    """Shares of an ONNX file's time, the largest first."""
    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.enable_profiling = 1, True
        options.profile_file_prefix, options.log_severity_level = f"{scratch}/profile", 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for _ in range(REPEATS):
            session.run(None, {session.get_inputs()[0].name: image_BCHW})
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    return {name: count / spent.total() for name, count in spent.most_common(SHOWN)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    (data,) = pictures(1, 512)
    image = decode(data)
    models = {name: OnnxModel(folder / "export", 1, name) for name in SUFFIX}
    plain, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder / 'student'}")
    plain.eval()
    pixel_BCHW = models["fp32"].prepare(image)[None]
    prepared: Any = preprocess(image)
    print(f"decode: {processor_ms(lambda: decode(data)):.1f} ms")
    print(f"resize and crop: {processor_ms(lambda: models['fp32'].prepare(image)):.1f} ms")
    print(f"open_clip's preprocessing: {processor_ms(lambda: preprocess(image)):.1f} ms")
    with torch.inference_mode():
        print(f"image tower, PyTorch: {processor_ms(lambda: plain.encode_image(prepared[None])):.1f} ms")
    for name, model in models.items():
        spent = processor_ms(partial(model.encode_prepared, pixel_BCHW))
        print(f"image tower, ONNX Runtime, {name}: {spent:.1f} ms")
        shares = operators(folder / "export" / IMAGE.format(SUFFIX[name]), prepared[None].numpy())
        print("  " + ", ".join(f"{operator} {100 * share:.0f} %" for operator, share in shares.items()))


if __name__ == "__main__":
    main()
