"""Memory and time of the losses of many teachers, in chunks of rows and whole.

    python bench/losses.py [--batch 4096] [--teachers 9] [--dim 768] [--threads 1]
    python bench/losses.py --beside 256 512 1024 [--teachers 9] [--dim 768] [--threads 1] [--repeats 9]

The first writes bench/results/losses.json. Each variant runs in a fresh process on the CPU: it makes the student's and
the teachers' vectors, notes the memory it has by then, computes all losses with their gradients once, and reports how
far its peak resident memory rose above that. `affinity` follows each teacher apart,
`stacked` all teachers as one, `default` has the own caption as evidence beside that, `all terms` has the captions,
heads, interactive and relational terms beside affinity. `whole` is the same code with chunks as large as the batch.

The second writes bench/results/losses_beside.json: the processor time of a forward and backward pass of `affinity`,
`stacked` and `default` at batches of these sizes, in turns in one process, so that other work on the machine meets all.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from mmkd.folders.atomic import write_json
from mmkd.folders.stage import versions
from mmkd.progress import say

RESULT = Path(__file__).parent / "results" / "losses.json"
AIM_MB = 2000.0
BESIDE = RESULT.with_name("losses_beside.json")
VARIANTS: dict[str, dict[str, Any]] = {
    "affinity": {"objective": "affinity"},
    "stacked": {"objective": "stacked", "caption_evidence": False},
    "default": {},
    "all terms": {
        "objective": "affinity",
        "contrastive": 0.3,
        "terms": {"heads": 1.0, "interactive": 1.0, "relational": 1.0},
    },
}
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--teachers", type=int, default=9)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", nargs=2, metavar=("VARIANT", "CHUNKS"), help="measure this one here, print it as JSON")
    parser.add_argument("--beside", nargs="+", type=int, metavar="BATCH", help="one variant after the other, in turns")
    parser.add_argument("--repeats", type=int, default=9)
    asked = parser.parse_args()
    facts = {name: getattr(asked, name) for name in ("batch", "teachers", "dim", "threads")}
    known = {"machine": platform.machine(), "versions": versions()}
    if asked.beside:
        rows = [beside(batch, asked.teachers, asked.dim, asked.threads, asked.repeats) for batch in asked.beside]
        write_json(BESIDE, {**facts, "rows": rows, **known})
        return
    if asked.one:
        variant, chunks = asked.one
        print(json.dumps(measure(variant, chunks, asked.batch, asked.teachers, asked.dim, asked.threads)))
        return
    rows = []
    for variant in VARIANTS:
        for chunks in ("chunked", "whole"):
            row = apart(asked, variant, chunks)
            say(f"{variant:>10}, {chunks:>7}: {row['peak_mb']:8,.0f} MB above the vectors, {row['wall_s']:6.1f} s")
            rows.append(row)
    worst = max(row["peak_mb"] for row in rows if row["chunks"] == "chunked")
    say(f"chunked, at most {worst:,.0f} MB (aim: below {AIM_MB:,.0f}): {'reached' if worst < AIM_MB else 'missed'}")
    write_json(RESULT, {**facts, "rows": rows, **known})


def beside(batch: int, teachers: int, dim: int, threads: int, repeats: int) -> dict[str, Any]:
    """Medians of each variant: processor seconds, and their ratio to those of affinity in the same turn."""
    import torch

    torch.set_num_threads(threads)
    made = {name: make(name, batch, teachers, dim) for name in ("affinity", "stacked", "default")}
    turns: list[dict[str, float]] = []
    for turn in range(repeats + 1):  # the first warms up
        names = list(made) if turn % 2 else list(made)[::-1]
        turns.append({})
        for name in names:
            start = time.process_time()
            run(*made[name])
            turns[-1][name] = time.process_time() - start
    seconds = {name: median(turn[name] for turn in turns[1:]) for name in made}
    ratio = {name: median(turn[name] / turn["affinity"] for turn in turns[1:]) for name in made}
    shown = ", ".join(f"{name} {1e3 * seconds[name]:,.1f} ms ({ratio[name]:.2f})" for name in made)
    say(f"batch {batch:5d}: {shown}")
    return {"batch": batch, "seconds": seconds, "ratio": ratio}


def apart(asked: argparse.Namespace, variant: str, chunks: str) -> dict[str, Any]:
    """The measurement in a process of its own."""
    sizes = [f"--{name}={getattr(asked, name)}" for name in ("batch", "teachers", "dim", "threads")]
    command = [sys.executable, __file__, *sizes, "--one", variant, chunks]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(shown.splitlines()[-1])
    return found


def measure(variant: str, chunks: str, batch: int, teachers: int, dim: int, threads: int) -> dict[str, Any]:
    """Peak resident memory above that of the vectors, MB, and seconds, of one forward and backward pass."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    from mmkd.training.losses import memory

    torch.set_num_threads(threads)
    small, view = make(variant, 64, 2, 32), make(variant, batch, teachers, dim)
    run(*small)  # what the libraries take by themselves
    if chunks == "whole":
        memory.CELLS = memory.KEPT = batch * batch
    before, start = resident_mb(), time.perf_counter()
    loss = run(*view)
    return {
        "variant": variant,
        "chunks": chunks,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB - before,
        "wall_s": time.perf_counter() - start,
        "vectors_and_libraries_mb": before,
        "loss": loss,
    }


def make(variant: str, batch: int, teachers: int, dim: int) -> tuple[Any, Any, list[Any]]:
    """An objective, a view, and the student's vectors that gradients go to."""
    import numpy as np
    import torch
    from torch.nn.functional import normalize

    from mmkd.training.data.view import Embedded, TeacherBatch, single_view
    from mmkd.training.experimental.targets import fit_target
    from mmkd.training.objectives.objective import TeacherShape
    from mmkd.training.settings.distill import DistillSettings
    from mmkd.training.settings.tables import OBJECTIVES

    generator = torch.Generator().manual_seed(0)

    def unit() -> torch.Tensor:
        return normalize(torch.randn(batch, dim, generator=generator), dim=1)

    image, text = ([unit() for _ in range(teachers)] for _ in range(2))
    rng = np.random.default_rng(0)
    shapes = [
        TeacherShape(50.0, fit_target("centre", i[:256].numpy(), t[:256].numpy(), rng))
        for i, t in zip(image, text, strict=True)
    ]
    settings = DistillSettings.model_validate(VARIANTS[variant])
    objective = OBJECTIVES[settings.objective].load()(settings, dim, shapes, generator)
    trust, group = torch.ones(batch, teachers), torch.zeros(batch, dtype=torch.long)
    leaves = [unit().requires_grad_(), unit().requires_grad_(), torch.tensor(50.0, requires_grad=True)]
    own = Embedded(leaves[0], leaves[1], leaves[2])
    positive = torch.eye(batch, dtype=torch.bool)
    given_B2 = torch.tensor([0.3, 2.0]).repeat(batch, 1) if settings.caption_evidence else None
    of_teachers = TeacherBatch(image, text, trust, trust.bool(), 8.0 * trust, group, given_B2)
    view = single_view(own, positive, of_teachers, generator)
    return objective, view, leaves


def run(objective: Any, view: Any, leaves: list[Any]) -> float:
    """All losses and their gradients; returns the weighted sum."""
    import torch

    losses = objective(view)
    total = torch.stack([objective.weights[name] * loss for name, loss in losses.items()]).sum()
    torch.autograd.backward(total)
    return float(total.detach())


def resident_mb() -> float:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


if __name__ == "__main__":
    main()
