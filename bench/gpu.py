"""The benchmarks for one H200 as one command: a step of stage 2, and extraction with nine teachers.

    python bench/gpu.py [--realdata FOLDER] [--batch 1024] [--minutes 20] [--dry-run]
    python bench/gpu.py --try                     # the same on a CPU with tiny models, to see that it runs

Runs `train.py` (ViT-B/16 with BERT-base, context 256, nine teachers' features, bf16) and `extract.py` (nine ViT-B/16,
bf16, beside the loop that users write) one after the other, each in a process of its own with a limit of time, and
prints a table of what was aimed at and what was found. Aims: 2,300 pairs a second and 40 % of the bf16 peak in
training; LAION's best published contrastive figure is 20.9 %. Writes bench/results/gpu.json. Needs the real pairs
(../shared/realdata or $MMKD_REALDATA) and one GPU.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd.folders.atomic import write_json

BENCH = Path(__file__).parent
RESULTS = BENCH / "results"
REALDATA = Path(os.environ.get("MMKD_REALDATA", BENCH.parents[1] / "shared" / "realdata"))


@dataclass(frozen=True)
class Figure:
    """One line of the table. path: keys that lead to it in the benchmark's file; aim: at least, None for none."""

    what: str
    benchmark: str
    path: tuple[str, ...]
    aim: float | None = None

    def of(self, results: Mapping[str, Any]) -> float | None:
        """The number that was found; None where the benchmark left none."""
        found: Any = results.get(self.benchmark)
        for key in self.path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, int | float) else None

    def line(self, results: Mapping[str, Any]) -> str:
        """A row: what, aim, found, verdict."""
        found, aim = self.of(results), self.aim
        verdict = "" if aim is None else "not measured" if found is None else "reached" if found >= aim else "missed"
        shown = "–" if found is None else f"{found:,.4g}"
        return f"| {self.what} | {'–' if aim is None else f'{aim:,.4g}'} | {shown} | {verdict} |"


FIGURES = (
    Figure("training, pairs/s", "train", ("arms", "default", "pairs_per_s"), 2300.0),
    Figure("training, share of the bf16 peak (MFU)", "train", ("arms", "default", "mfu"), 0.4),
    Figure("training, TFLOP/s", "train", ("arms", "default", "tflops")),
    Figure("training, share of time waiting for data", "train", ("arms", "default", "wait")),
    Figure("training, GB of the GPU", "train", ("arms", "default", "memory_gb")),
    Figure("a step padded to the context, over the default", "train", ("default_is_faster_by", "padding"), 1.0),
    Figure("a step by the public code's habits, over the default", "train", ("default_is_faster_by", "public"), 1.0),
    Figure("extraction, nine teachers, pairs/s", "extract", ("arms", "shared", "pairs_per_s")),
    Figure("the loop that users write, pairs/s", "extract", ("arms", "loop", "pairs_per_s")),
    Figure("the loop's time over extraction's", "extract", ("arms", "loop", "wall_s"), 1.0),
)


def commands(asked: argparse.Namespace) -> dict[str, list[str]]:
    """The benchmarks and how they are called."""
    train: dict[str, Any] = {"batch": asked.batch, "steps": 4, "rounds": 2}
    extract: dict[str, Any] = {"pairs": 1024, "teachers": 9, "batch": 256, "rounds": 2, "precision": "bf16"}
    shared: dict[str, Any] = {"device": "cuda", "threads": 0, "workers": max(1, len(os.sched_getaffinity(0)) - 2)}
    model, arms = "ViT-B-16", ["networks", "shared", "loop"]
    if asked.tried:
        train |= {"batch": 4, "steps": 1, "rounds": 1}
        extract |= {"pairs": 8, "teachers": 2, "batch": 4, "rounds": 1, "precision": "fp32"}
        shared |= {"device": "cpu", "threads": 1, "workers": 0}
        model = "small"
    out = RESULTS / ("tried" if asked.tried else "gpu")
    return {
        "train": [*_options(train | shared), "--only", "padding", "public", "--out", str(out / "train.json")]
        + ["--tiny"] * asked.tried,
        "extract": [*_options(extract | shared), "--model", model, "--arms", *arms, "--out", str(out / "extract.json")],
    }


def _options(values: Mapping[str, Any]) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def run(name: str, arguments: list[str], realdata: Path, seconds: float) -> tuple[Any, str]:
    """What a benchmark left in its file, and why nothing where there is nothing."""
    out = Path(arguments[arguments.index("--out") + 1])
    out.unlink(missing_ok=True)
    try:
        command = [sys.executable, str(BENCH / f"{name}.py"), *arguments]
        done = subprocess.run(command, timeout=seconds, env={**os.environ, "MMKD_REALDATA": str(realdata)})
    except subprocess.TimeoutExpired:
        return None, f"{name}: not done in {seconds:.0f} s"
    if done.returncode or not out.is_file():
        return None, f"{name}: ended with {done.returncode}"
    return json.loads(out.read_text()), ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--realdata", type=Path, default=REALDATA)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--minutes", type=float, default=20.0, help="for both together")
    parser.add_argument("--dry-run", action="store_true", help="print the commands")
    parser.add_argument("--try", action="store_true", dest="tried", help="on a CPU, tiny models")
    asked = parser.parse_args()
    asked_for = commands(asked)
    if asked.dry_run:
        for name, arguments in asked_for.items():
            print(f"MMKD_REALDATA={shlex.quote(str(asked.realdata))} python bench/{name}.py {shlex.join(arguments)}")
        return
    if not asked.tried and not _has_gpu():
        raise SystemExit("no GPU is seen here; run it where there is one, or see that it works with --try")
    results: dict[str, Any] = {}
    problems, end = [], time.monotonic() + 60 * asked.minutes
    for name, arguments in asked_for.items():
        results[name], problem = run(name, arguments, asked.realdata, max(1.0, end - time.monotonic()))
        problems += [problem] * bool(problem)
    print("| | aim | found | |\n|---|---:|---:|---|")
    print("\n".join(figure.line(results) for figure in FIGURES))
    write_json(RESULTS / "gpu.json", results)
    if problems:
        raise SystemExit("\n".join(problems))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    main()
