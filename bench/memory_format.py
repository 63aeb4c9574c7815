"""Processor time of image towers on batches in torch's two memory formats, in turns.

    python bench/memory_format.py [--batch 128] [--repeats 9] [--threads 1]

Prints a table and writes bench/results/memory_format.json: the median of a forward and backward pass, and of a forward
pass without gradients, for images as (B, C, H, W) in memory and for channels last, (B, H, W, C). Weights stay as they
are: torch chooses its convolution by the images. Weights are random, networks are those of timm's names.
"""

import argparse
import platform
import time
from pathlib import Path
from statistics import median

import timm
import torch

from mmkd.folders.atomic import write_json
from mmkd.folders.stage import versions
from mmkd.progress import say

RESULT = Path(__file__).parent / "results" / "memory_format.json"
TOWERS = [("test_byobnet", 64), ("test_byobnet", 32), ("test_efficientnet", 64), ("test_convnext", 64)]
TOWERS += [("resnet18", 64), ("fastvit_t8", 64), ("test_vit", 64)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rows = []
    say("| tower | pixels | training, ms | channels last | ratio | inference, ms | channels last | ratio |")
    say("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, size in TOWERS:
        step, look = (turns(name, size, asked.batch, asked.repeats, train) for train in (True, False))
        rows.append({"tower": name, "pixels": size, "training_ms": step, "inference_ms": look})
        cells = [f"{a:.1f} | {b:.1f} | {b / a:.2f}" for a, b in (step, look)]
        say(f"| {name} | {size} | {' | '.join(cells)} |")
    facts = {"batch": asked.batch, "threads": asked.threads, "machine": platform.machine(), "versions": versions()}
    write_json(RESULT, {**facts, "rows": rows})


def turns(name: str, size: int, batch: int, repeats: int, train: bool) -> tuple[float, float]:
    """Milliseconds of a pass over images as they are and over channels last, medians."""
    torch.manual_seed(0)
    tower = timm.create_model(name, num_classes=64, img_size=size) if name[-3:] == "vit" else timm.create_model(name)
    tower.train(train)
    plain = torch.randn(batch, 3, size, size)
    images = (plain, plain.to(memory_format=torch.channels_last))
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for image_BCHW, times in zip(images, taken, strict=True):
            start = time.process_time()
            with torch.set_grad_enabled(train):
                out = tower(image_BCHW)
                if train:
                    out.sum().backward()
            times.append(1e3 * (time.process_time() - start))
    return median(taken[0][1:]), median(taken[1][1:])  # the first pass compiles


if __name__ == "__main__":
    main()
