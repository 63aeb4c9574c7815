"""Does the main job do what it promises? The demo for several seeds, against the figures it has to reach.

    python bench/demo.py [--seeds 0 1 2] [--out runs/bench]

Each seed is a run of the recipe demo in a folder of its own (finished stages are reused). Prints one row a seed and
writes bench/results/demo.json; exits with 1 when a figure is missed. World, teachers and students all follow the seed.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mmkd.evaluation.format.results import ALL, read_comparisons, read_results
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import read_log, read_manifest, versions
from mmkd.progress import say

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "demo.json"
RIVALS = ("contrastive", "mmkd")


def run(seed: int, out: Path) -> float:
    """Run the demo with a seed; returns the seconds it took."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "mmkd", "run", "demo", "--out", str(out), "--set", f"seed={seed}"]
    with (out.parent / f"seed{seed}.log").open("w") as log:
        subprocess.run(command, check=True, cwd=ROOT, stdout=log)
    return time.perf_counter() - start


def figures(seed: int, out: Path, seconds: float) -> dict[str, Any]:
    """Mean zero-shot accuracy of every model, in %, and what the promises are about."""
    evaluation = out / "evaluate"
    mean = {
        row.model: 100 * row.value
        for row in read_results(evaluation)
        if row.task == "zero_shot" and row.metric == "accuracy" and row.modality == "mean" and row.subset == ALL
    }
    teachers = [spec["name"] for spec in read_manifest(evaluation)["settings"]["models"] if spec["name"] in mean]
    teachers = [name for name in teachers if name not in ("stage1", "student", *RIVALS)]
    single = max(mean[name] for name in teachers)
    error = {name: mean["best_teacher"] - mean[name] for name in ("student", *RIVALS)}
    memory = max(read_log(path.parent)["peak_memory_mb"] for path in out.rglob("manifest.json"))
    intervals = {
        row.rival: [row.difference, row.low, row.high]
        for row in read_comparisons(evaluation)
        if row.task == "zero_shot" and row.metric == "accuracy" and row.modality == "mean" and row.subset == ALL
    }
    checks = {
        "student at least 95 % of the best teacher of each modality": mean["student"] >= 0.95 * mean["best_teacher"],
        "student at least 20 points above the best single teacher": mean["student"] >= single + 20,
        **{f"student's error at most half of that of {n}": error["student"] <= error[n] / 2 for n in RIVALS},
        "world hard: contrastive below 90 %": mean["contrastive"] < 90,
        "world hard: best single teacher below 70 %": single < 70,
        "peak memory below 4 GB": memory < 4096,
    }
    return {
        "seed": seed,
        "accuracy": mean,
        "best_single": single,
        "error": error,
        "student_minus": intervals,
        "seconds": seconds,
        "peak_memory_mb": memory,
        "checks": checks,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    say("seed  best teachers  best single  teachers_concat  stage1  contrastive   mmkd  student  seconds  peak MB")
    for seed in arguments.seeds:
        out = (arguments.out / f"seed{seed}").resolve()
        row = figures(seed, out, run(seed, out))
        mean = row["accuracy"]
        say(
            f"{seed:4d}  {mean['best_teacher']:13.1f}  {row['best_single']:11.1f}  {mean['teachers_concat']:15.1f}  "
            f"{mean['stage1']:6.1f}  {mean['contrastive']:11.1f}  {mean['mmkd']:5.1f}  {mean['student']:7.1f}  "
            f"{row['seconds']:7.0f}  {row['peak_memory_mb']:7d}"
        )
        rows.append(row)
    write_json(RESULT, {"runs": rows, "versions": versions()})
    missed = [f"seed {row['seed']}: {name}" for row in rows for name, met in row["checks"].items() if not met]
    say("\n".join(["missed:", *missed]) if missed else "every figure is reached with every seed")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
