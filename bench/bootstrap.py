"""How fast five metrics are computed on bootstrap replicates, beside a loop that calls scikit-learn on each resample.

    python bench/bootstrap.py [--samples 7180] [--classes 9] [--replicates 1000] [--looped 100]

Writes bench/results/bootstrap.json. Both sides draw within classes, both on one thread unless the environment says
otherwise. The loop computes the first `looped` replicates and is extrapolated to all; its values must be ours. Scores
have ties, as float16 embeddings give. Peak memory is that of the whole process before scikit-learn is imported.
"""

import argparse
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when NumPy is imported

import numpy as np

from mmkd.folders.atomic import write_json
from mmkd.folders.stage import versions
from mmkd.progress import say
from mmkd.statistics.bootstrap import plan_draws, replicate
from mmkd.statistics.metrics import Array, accuracy, balanced_accuracy, f1, macro, one_vs_rest
from mmkd.statistics.ranking import auc, average_precision

RESULT = Path(__file__).parent / "results" / "bootstrap.json"
AIM = 10.0  # times faster than the loop
Timed = dict[str, tuple[float, Array]]  # metric -> seconds, values of the replicates


def predictions(samples: int, classes: int) -> tuple[Array, Array]:
    """Scores (N, C) of a fair classifier and labels (N,) of unequal classes."""
    rng = np.random.default_rng(0)
    share = np.arange(2, classes + 2) / np.arange(2, classes + 2).sum()
    label_N = np.concatenate([np.arange(classes), rng.choice(classes, samples - classes, p=share)])
    score_NC = rng.normal(size=(samples, classes)) + 1.5 * one_vs_rest(label_N, classes)
    return np.round(score_NC / 10, 3).astype(np.float32), label_N


def ours(score_NC: Array, label_N: Array) -> dict[str, Callable[[Array], Array]]:
    guess_N = score_NC.argmax(axis=1)
    member_NC, guess_NC = (one_vs_rest(of_N, score_NC.shape[1]) for of_N in (label_N, guess_N))
    return {
        "accuracy": lambda weight_BN: accuracy(guess_N == label_N, weight_BN),
        "balanced_accuracy": lambda weight_BN: balanced_accuracy(guess_N == label_N, label_N, weight_BN),
        "macro_auc": lambda weight_BN: macro(auc, score_NC, member_NC, weight_BN),
        "macro_f1": lambda weight_BN: macro(f1, guess_NC, member_NC, weight_BN),
        "macro_average_precision": lambda weight_BN: macro(average_precision, score_NC, member_NC, weight_BN),
    }


def theirs(score_NC: Array, label_N: Array) -> dict[str, Callable[[Array], float]]:
    """scikit-learn on the samples drawn, given by their numbers."""
    from sklearn import metrics

    guess_N, member_NC = score_NC.argmax(axis=1), one_vs_rest(label_N, score_NC.shape[1])
    return {
        "accuracy": lambda drawn: metrics.accuracy_score(label_N[drawn], guess_N[drawn]),
        "balanced_accuracy": lambda drawn: metrics.balanced_accuracy_score(label_N[drawn], guess_N[drawn]),
        "macro_auc": lambda drawn: metrics.roc_auc_score(member_NC[drawn], score_NC[drawn]),
        "macro_f1": lambda drawn: metrics.f1_score(label_N[drawn], guess_N[drawn], average="macro"),
        "macro_average_precision": lambda drawn: metrics.average_precision_score(member_NC[drawn], score_NC[drawn]),
    }


def timed_engine(score_NC: Array, label_N: Array, replicates: int) -> Timed:
    """Each metric with draws of its own, as if it stood alone, and `all`: the five on one set of draws."""
    draws = plan_draws([""] * len(label_N), label_N, replicates, (0,))
    functions = ours(score_NC, label_N)

    def run(names: list[str]) -> tuple[float, dict[str, Array]]:
        begin = time.perf_counter()
        found = replicate(lambda weight_BN: {name: functions[name](weight_BN) for name in names}, draws)
        return time.perf_counter() - begin, found

    result: Timed = {name: (took, found[name]) for name in functions for took, found in [run([name])]}
    together, _ = run(list(functions))
    return {**result, "all": (together, np.empty(0))}


def timed_loop(score_NC: Array, label_N: Array, replicates: int, looped: int) -> Timed:
    """The first replicates one by one, on the same draws; making the draws costs the loop nothing."""
    draws = plan_draws([""] * len(label_N), label_N, replicates, (0,))
    count_BN = next(draws.blocks())[:looped]
    resamples = [np.repeat(np.arange(len(count_N)), count_N) for count_N in count_BN]
    result = {}
    for name, function in theirs(score_NC, label_N).items():
        begin = time.perf_counter()
        values = np.array([function(drawn) for drawn in resamples])
        result[name] = (time.perf_counter() - begin, values)
    return result


def compared(engine: Timed, loop: Timed, replicates: int) -> dict[str, Any]:
    """Seconds of both for all replicates, their ratio, and the largest difference of a replicate."""
    rows = {}
    for name, (took, values) in loop.items():
        mine, known = engine[name]
        rows[name] = {
            "seconds": round(mine, 3),
            "loop_seconds": round(took / len(values) * replicates, 2),
            "times_faster": round(took / len(values) * replicates / mine, 1),
            "largest_difference": float(np.abs(known[: len(values)] - values).max()),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=7180)
    parser.add_argument("--classes", type=int, default=9)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--looped", type=int, default=100)
    options = parser.parse_args()
    score_NC, label_N = predictions(options.samples, options.classes)
    engine = timed_engine(score_NC, label_N, options.replicates)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    loop = timed_loop(score_NC, label_N, options.replicates, min(options.looped, options.replicates))
    rows = compared(engine, loop, options.replicates)
    seconds, loop_seconds = engine["all"][0], sum(row["loop_seconds"] for row in rows.values())
    result: dict[str, Any] = {
        "seconds": round(seconds, 3),
        "loop_seconds": round(loop_seconds, 1),
        "loop_extrapolated": options.looped < options.replicates,
        "times_faster": round(loop_seconds / seconds, 1),
        "aim": AIM,
        "largest_difference_of_auc": rows["macro_auc"]["largest_difference"],
        "peak_mb": round(peak_mb),
        "metrics": rows,
        "options": vars(options),
        "threads": os.environ["OMP_NUM_THREADS"],
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "versions": versions() | {"numpy": np.__version__},
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    write_json(RESULT, result)
    say(
        f"{seconds:.2f} s against {loop_seconds:.1f} s in a loop ({result['times_faster']} times faster), "
        f"AUC apart by {result['largest_difference_of_auc']:.1e}, peak {peak_mb:.0f} MB; see {RESULT}"
    )


if __name__ == "__main__":
    main()
