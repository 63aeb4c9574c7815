"""What the intervals of a large data set cost, whole and a block of replicates at a time: is it worth handing them out?

    python bench/bootstrap_units.py [--samples 100 624 7180] [--classes 9] [--models 10] [--replicates 5000]

Zero-shot classification: the models' predictions are made up, and measured by the functions of the evaluation. A row is
a data set; its columns: seconds of all replicates (what one process computes), blocks and seconds of each of them (what
a worker would compute), seconds of the draws alone (which the worker of the last block makes again, as a block's draws
begin where those before it end), and MB of the replicates that it would hand back. Writes
bench/results/bootstrap_units.json.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from classes import world

from mmkd.evaluation.format.predictions import PredictionFacts, Predictions
from mmkd.evaluation.models.embeddings import normalised
from mmkd.evaluation.summary.scores import Resampling, score
from mmkd.evaluation.tasks.zero_shot import TASK
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import versions
from mmkd.statistics.bootstrap import BLOCK_CELLS, plan_draws

RESULT = Path(__file__).parent / "results" / "bootstrap_units.json"
HEADS = ("samples", "classes", "models", "replicates, s", "blocks", "a block, s", "draws, s", "MB")
MIB = 2**20


def measured(samples: int, classes: int, models: int, replicates: int) -> dict[str, Any]:
    """A row of the table."""
    _, embedded = world(classes, samples, 64, 1)
    rng = np.random.default_rng(0)
    predictions = {}
    for number in range(models):  # each sees the pictures in a noise of its own
        image_ND = embedded.members[0].image_ID
        noisy_ND = normalised(image_ND + rng.standard_normal(image_ND.shape, np.float32) / 10)
        found = TASK.predict(replace(embedded, members=[replace(embedded.members[0], image_ID=noisy_ND)]))
        facts = PredictionFacts(f"model {number}", "kinds", "ct", "zero_shot")
        predictions[facts.model] = Predictions(facts, found.id, found.group, found.columns)
    start = time.perf_counter()
    scores = score(TASK, predictions, Resampling(replicates, 0.95, 0))
    whole = time.perf_counter() - start
    held = sum(one.replicate_B.nbytes for metrics in scores.estimates.values() for one in metrics.values())
    start = time.perf_counter()
    for _ in plan_draws(found.group, TASK.labels(found.columns), replicates, (0,)).blocks():
        pass
    drawn = time.perf_counter() - start
    blocks = math.ceil(replicates / max(1, BLOCK_CELLS // samples))
    return dict(zip(HEADS, (samples, classes, models, whole, blocks, whole / blocks, drawn, held / MIB), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[100, 624, 7180])
    for name, usual in (("classes", 9), ("models", 10), ("replicates", 5000)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print("| " + " | ".join(HEADS) + " |\n|" + "---:|" * len(HEADS))
    for samples in asked.samples:
        row = measured(samples, asked.classes, asked.models, asked.replicates)
        cells = (f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" for value in row.values())
        print("| " + " | ".join(cells) + " |", flush=True)
        rows.append(row)
    write_json(RESULT, {"rows": rows, "asked": vars(asked), "versions": versions()})


if __name__ == "__main__":
    main()
