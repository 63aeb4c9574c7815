"""What reading and ranking all rows of a teacher costs: seconds and memory by rows, and what follows for more of them.

    python bench/teacher_rows.py [--rows 20000 200000] [--teachers 2] [--folder FOLDER]
                                 [--steps STEP ...]

Writes a corpus without pictures (two modalities, every tenth caption is another's) and random features of 512
dimensions, in FOLDER or a temporary one, then does each step in a fresh process of one thread:

take: all vectors of one teacher at once; the data itself are rows x 2 KiB.
reliability: `mmkd reliability`, all teachers, at most 20,000 rows a modality.
gate: which teachers the reference's recipe takes for each pair; posterior: how likely each caption is right.
clusters: groups of pairs for `[reliability] by = "cluster"`, only with --steps.
codes: numbers for captions and pictures, as the first process of a training writes them.

Processor seconds, and the peak of memory that is not a mapped file, less that at the start (`RssAnon`, every 5 ms). The
last line carries on seconds in rows and teachers from the largest size to 2.9 million rows and nine teachers; it was
not run.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmkd.corpus.schema import Corpus, corpus_features
from mmkd.features.store import (
    TeacherFacts,
    TeacherFeatures,
    feature_columns,
    feature_table,
    open_features,
    write_facts,
)
from mmkd.folders.arrow import arrow_schema, finish, write_shard
from mmkd.folders.stage import Stage, complete
from mmkd.reliability.clusters import find_clusters
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stage import measure_reliability
from mmkd.training.data.tokens import coded
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.targets.teacher_targets import caption_posteriors, gated

DIM, SHARD, MODALITIES = 512, 20_000, 2
STEPS = ("take", "reliability", "gate", "posterior", "codes", "clusters")
USUAL = STEPS[:-1]
ROWS, TEACHERS = 2_900_000, 9  # projected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--teachers", type=int, default=2)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(USUAL))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps(measured(asked.step, asked.folder)))
        return
    print("| rows | teachers | " + " | ".join(f"{step}, s | MB" for step in asked.steps) + " |")
    print("|---:|---:|" + "---:|---:|" * len(asked.steps))
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for rows in asked.rows:
            place = Path(folder) / str(rows)
            write_world(place, rows, asked.teachers)
            told = [apart(step, place) for step in asked.steps]
            cells = [f"{one['s']:,.1f} | {one['mb']:,.0f}" for one in told]
            print(f"| {rows:,} | {asked.teachers} | " + " | ".join(cells) + " |", flush=True)
    # of take, codes, clusters and reliability: one teacher, no teacher, groups of a bounded size
    grows = {"take": ROWS / rows * TEACHERS, "codes": ROWS / rows, "reliability": TEACHERS / asked.teachers}
    grows["clusters"] = TEACHERS / asked.teachers  # most of it is the fit, on a bounded number of rows
    both = ROWS / rows * TEACHERS / asked.teachers
    cells = [f"{one['s'] * grows.get(step, both):,.0f} | –" for step, one in zip(asked.steps, told, strict=True)]
    print(f"| {ROWS:,} (projected) | {TEACHERS} | " + " | ".join(cells) + " |")


def apart(step: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__)), "--folder", str(folder), "--step", step]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def write_world(folder: Path, rows: int, teachers: int) -> None:
    schema = arrow_schema(corpus_features())
    names = [f"data-{part:05d}.arrow" for part in range(-(-rows // SHARD))]

    def corpus(partial: Path) -> dict[str, int]:
        for part, name in enumerate(names):
            write_shard(partial / name, schema, [_pairs(range(part * SHARD, min(rows, (part + 1) * SHARD)), schema)])
        finish(partial, corpus_features(), names, "ab" * 32)
        return {}

    complete(Stage("corpus", folder / "corpus", {}, {}, ("data-*.arrow",)), corpus)
    made = Corpus(folder / "corpus")
    for teacher in range(teachers):
        _write_teacher(folder / "features" / f"teacher{teacher}", made, names, teacher)


def _pairs(rows: range, schema: pa.Schema) -> pa.Table:
    told = {
        "id": [f"pair {row}" for row in rows],
        "caption": [
            f"finding {row % (1 + len(rows) * 9 // 10)}, seen in the patient's left lower lobe" for row in rows
        ],
        "modality": [f"modality {row % MODALITIES}" for row in rows],
        "split": ["train" for _ in rows],
        "image": [{"bytes": b"", "path": None} for _ in rows],
        "sha256": [f"{row * 2654435761 % 2**64:064x}" for row in rows],
    }
    empty = {f.name: [""] * len(rows) if pa.types.is_string(f.type) else [0] * len(rows) for f in schema}
    return pa.table({**empty, **told}, schema=schema)


def _write_teacher(folder: Path, corpus: Corpus, names: list[str], seed: int) -> None:
    columns, ids, rng = feature_columns(DIM), corpus.table.data.column("id"), np.random.default_rng(seed)

    def body(partial: Path) -> dict[str, int]:
        for part, name in enumerate(names):
            some = ids.slice(part * SHARD, SHARD)
            image_ND = rng.standard_normal((len(some), DIM), np.float32)
            text_ND = image_ND + 3 * rng.standard_normal(image_ND.shape, np.float32)
            sides = {"image": image_ND, "text": text_ND}
            unit = {side: one / np.linalg.norm(one, axis=1, keepdims=True) for side, one in sides.items()}
            write_shard(partial / name, arrow_schema(columns), [feature_table(some, unit)])
        finish(partial, columns, names, f"{seed:064x}")
        write_facts(partial, TeacherFacts(folder.name, DIM, "none", "random"))
        return {"rows": len(ids)}

    complete(Stage(folder.name, folder, {}, {"corpus": corpus.digest}), body)


def measured(step: str, folder: Path) -> dict[str, float]:
    corpus = Corpus(folder / "corpus")
    names = sorted(one.name for one in (folder / "features").glob("teacher?"))
    features, rows = open_features(folder / "features", corpus, names), corpus.rows("train")
    run = _run(step, folder, corpus, features, rows)
    begun, peak, over = _anonymous(), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            peak[0] = max(peak[0], _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    run()
    took = time.process_time() - start
    over.set()
    watcher.join()
    return {"s": took, "mb": max(0.0, peak[0] - begun)}


def _run(
    step: str, folder: Path, corpus: Corpus, features: list[TeacherFeatures], rows: np.ndarray
) -> Callable[[], object]:
    settings, names = DistillSettings(objective="mmkd"), [teacher.name for teacher in features]
    ones_NT = np.ones((len(rows), len(features)))
    group_N = corpus.modalities[rows]
    if step == "reliability":
        done = folder / "reliability"
        done.mkdir()
        place = ReliabilitySettings(), folder / "corpus", folder / "features", names
        return lambda: measure_reliability(*place, done, 0)
    steps: dict[str, Callable[[], object]] = {
        "take": lambda: features[0].take(rows),
        "gate": lambda: gated(settings, rows, features, ones_NT.astype(bool), 0),
        "posterior": lambda: caption_posteriors(ones_NT, group_N, rows, features, 0),
        "clusters": lambda: find_clusters(features, rows, len(corpus), 0, 0),
        "codes": lambda: [coded(corpus, column, rows) for column in ("caption", "sha256")],
    }
    return steps[step]


def _anonymous() -> float:
    """Memory of this process that is no mapped file, in MB."""
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()
