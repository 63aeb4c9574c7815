"""What do the first dimensions of a `matryoshka` student know? Their zero-shot accuracy on the cards of a run.

    python bench/prefixes.py RUN [RUN ...] [--dims 16 32] [--only x_ray ct ...]

Each RUN is a folder of `mmkd run` or `mmkd ablate` with a synthetic world, one for each seed. `mmkd export --dim`
writes each prefix as a model by itself, and one evaluation has all of them. Prints a table and writes
bench/results/prefixes.json.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmkd.evaluation.format.results import ALL, MEAN, Result, read_results
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import versions
from mmkd.progress import say

RESULT = Path(__file__).parent / "results" / "prefixes.json"
WHOLE = "all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--dims", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--only", nargs="+", default=[], help="folders of the world's cards; all without")
    asked = parser.parse_args()
    names = [*map(str, asked.dims), WHOLE]
    found = [accuracies(run, asked.dims, asked.only) for run in asked.runs]
    say("| dimensions | " + " | ".join(f"run {n}" for n in range(len(found))) + " | mean | of all dimensions, % |")
    say("|---|" + "---:|" * (len(found) + 2))
    means = {name: float(np.mean([one[name] for one in found])) for name in names}
    for name in names:
        cells = " | ".join(f"{one[name]:.1f}" for one in found)
        say(f"| {name} | {cells} | {means[name]:.1f} | {100 * means[name] / means[WHOLE]:.1f} |")
    write_json(RESULT, {"runs": [one.name for one in asked.runs], "accuracy": found, "versions": versions()})


def accuracies(run: Path, dims: Sequence[int], only: Sequence[str]) -> dict[str, float]:
    """Prefix -> mean zero-shot accuracy over the run's cards, %."""
    cards = sorted((run / "world" / "classify").glob("*/card.toml"))
    cards = [card for card in cards if not only or card.parent.name in only]
    with tempfile.TemporaryDirectory() as scratch:
        models = [f"{WHOLE}=local-dir:{run / 'distill'}"]
        for dim in dims:
            out = Path(scratch) / str(dim)
            mmkd("export", str(run / "distill"), "--dim", str(dim), "--to", "open_clip", "--out", str(out))
            models.append(f"{dim}=local-dir:{out}")
        named = [word for model in models for word in ("--model", model)]
        named += [word for card in cards for word in ("--card", str(card))]
        mmkd("evaluate", *named, "--out", scratch, "--bootstrap", "200")
        return {row.model: 100 * row.value for row in read_results(Path(scratch) / "evaluate") if _asked(row)}


def _asked(row: Result) -> bool:
    return (row.task, row.metric, row.subset, row.modality) == ("zero_shot", "accuracy", ALL, MEAN)


def mmkd(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "mmkd", *arguments, "--quiet"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
