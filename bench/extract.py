"""What one shared pass over the images costs, against loops of open_clip's users and against the networks alone.

    python bench/extract.py [--pairs 128] [--teachers 5] [--batch 32] [--workers 2] [--threads 0] [--rounds 2]
                            [--device auto] [--precision fp32] [--arms networks shared loop separate]
                            [--model ViT-B-32] [--out FILE]

Four arms over the same real pairs (../shared/realdata or $MMKD_REALDATA) with teachers of random weights: `networks`:
their forward passes over images and token ids that lie in memory, nothing else. `shared`: `mmkd extract` as users run
it, stored features included. `loop`: one DataLoader that decodes each picture once, with open_clip's own transforms and
tokenizers, all networks on each batch, arrays saved at the end, as users write it. `separate`: such a loop for each
teacher, the next loaded when the one before is done. Loading models is left out of the times. --model: an architecture
of open_clip, or `small` (four layers a tower, 64 pixels), which shows what is not the networks. The arms take turns, in
a process each. Processor time is that of all processes of an arm, which other work on the machine disturbs less and in
which nothing is hidden: it contains decoding, resizing, tokenising and writing. Writes bench/results/extract.json.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from extract_loops import Loaded, loop
from parity import SMALL
from PIL import Image

from mmkd.corpus.schema import Corpus
from mmkd.curation.curate import corpus_stage, curate
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import TableSource
from mmkd.device import prepare
from mmkd.features import engine
from mmkd.features.engine import DecodedBatches, Views
from mmkd.features.extract import extract
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import complete, versions
from mmkd.images.decode import decode
from mmkd.progress import say
from mmkd.settings import Machine
from mmkd.teachers.encoders.teacher import Teacher
from mmkd.teachers.encoders.tokens import distinct
from mmkd.teachers.files.open_clip_folder import architecture, build, save
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import ExtractSettings, TeacherSpec

ROOT = Path(__file__).parents[1]
REALDATA = Path(os.environ.get("MMKD_REALDATA", ROOT.parent / "shared" / "realdata"))
RESULT = Path(__file__).parent / "results" / "extract.json"
ARMS = ("networks", "shared", "loop", "separate")


class Bench:
    """The corpus, the teachers and the options that all arms share."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.machine = Machine(device=options.device, workers=options.workers, threads=options.threads)
        self.device = prepare(self.machine)
        self.settings = ExtractSettings(batch_size=options.batch, precision=options.precision)
        model = f"local-dir:{folder / 'model'}"
        self.specs = [TeacherSpec(name=f"teacher{k}", model=model, licence="MIT") for k in range(options.teachers)]
        self.decoded = multiprocessing.Value("q", 0)

    def write(self) -> None:
        """A corpus of the first pairs and one model folder, which every teacher loads for itself."""
        torch.manual_seed(0)
        name = self.options.model
        save(build(SMALL if name == "small" else architecture(name)), self.folder / "model")
        lines = (REALDATA / "pairs" / "pairs.jsonl").read_text().splitlines()
        chosen = lines[:: max(1, len(lines) // self.options.pairs)]  # of every modality
        (self.folder / "pairs.jsonl").write_text("\n".join(chosen) + "\n")
        (self.folder / "images").mkdir()
        for line in chosen:
            image = json.loads(line)["image"]
            shutil.copyfile(REALDATA / "pairs" / image, self.folder / image)
        settings = CurateSettings(
            sources=[TableSource(kind="table", path=self.folder / "pairs.jsonl")], max_rejected=1.0
        )
        stage = corpus_stage(self.folder / "corpus", settings, settings.model_dump(mode="json"), 0)
        complete(stage, lambda partial: curate(settings, partial, self.machine, 0))

    @property
    def corpus(self) -> Corpus:
        return Corpus(self.folder / "corpus")

    def networks(self) -> dict[str, float]:
        """Forward passes alone: pixels and tokens are prepared before the clock starts."""
        teachers = [load_teacher(spec, self.device, self.options.precision) for spec in self.specs]
        rows = np.arange(len(self.corpus))
        batches = np.array_split(rows, -(-len(rows) // self.options.batch))
        ready = [DecodedBatches(self.corpus, Views(teachers))[rows] for rows in batches]
        for teacher in teachers:  # the first pass through a network allocates
            teacher.encode_images(ready[0].views[0])
        start, used = time.perf_counter(), cpu_s()
        for teacher in teachers:
            for batch in ready:
                teacher.encode_images(batch.views[0])
            different, _ = distinct([batch.tokens[0] for batch in ready])
            teacher.encode_tokens(different)
        return {"wall_s": time.perf_counter() - start, "cpu_s": cpu_s() - used}

    def shared(self) -> dict[str, float]:
        """`mmkd extract`; its own clock runs from the first batch asked for to the last shard written."""
        target = self.folder / f"features{time.monotonic_ns()}"
        inner, count, loading_s = decode, self.decoded, [0.0]

        def counted(data: bytes) -> Image.Image:
            with count.get_lock():
                count.value += 1
            return inner(data)

        def clocked(spec: TeacherSpec, device: torch.device, precision: str) -> Teacher:
            begun = cpu_s()
            teacher = load_teacher(spec, device, precision)
            loading_s[0] += cpu_s() - begun
            return teacher

        engine.decode = counted  # type: ignore[assignment, attr-defined]  # workers are forked, and so see it
        engine.load_teacher = clocked  # type: ignore[assignment, attr-defined]
        used = cpu_s()
        (clock,) = extract(self.specs, self.settings, self.folder / "corpus", target, self.machine)
        return {
            "wall_s": clock.wall_s,
            "cpu_s": cpu_s() - used - loading_s[0],
            "decodes_per_image": count.value / len(self.corpus),
            "waited_s": clock.waited_s,
        }

    def loop(self) -> dict[str, float]:
        """One pass over the images, all teachers."""
        return self._looped([[spec.model for spec in self.specs]])

    def separate(self) -> dict[str, float]:
        """One pass over the images for each teacher."""
        return self._looped([[spec.model] for spec in self.specs])

    def _looped(self, groups: list[list[str]]) -> dict[str, float]:
        seconds, used, asked = 0.0, 0.0, self.options
        for models in groups:
            loaded, out = Loaded(models, self.device), self.folder / f"looped{time.monotonic_ns()}"
            start, before = time.perf_counter(), cpu_s()
            loop(loaded, self.corpus, asked.batch, asked.workers, asked.precision, out)
            seconds, used = seconds + time.perf_counter() - start, used + cpu_s() - before
            del loaded
        return {"wall_s": seconds, "cpu_s": used}


def cpu_s() -> float:
    """Processor time of this process and of its workers that have ended."""
    found = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in found)


def in_a_process(arm: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Run an arm in a fresh process, so that its peak memory is its own."""
    given = [f"--{name}={value}" for name, value in vars(options).items() if value is not None and name != "arms"]
    command = [sys.executable, __file__, *given, f"--arm={arm}", f"--folder={folder}"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def one_arm(bench: Bench, arm: str) -> None:
    """Print an arm's figures as the last line."""
    found = getattr(bench, arm)()
    own, workers = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({**found, "peak_mb": own / 1024, "largest_worker_mb": workers / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--teachers", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: its own choice")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "fp16", "bf16"])
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", type=Path, default=RESULT, help="the JSON file that is written")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        one_arm(Bench(options.folder, options), options.arm)
        return
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS if arm in options.arms}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), options)
        bench.write()
        pairs = len(bench.corpus)
        for number in range(options.rounds):
            for arm in sorted(runs, reverse=bool(number % 2)):
                runs[arm].append(in_a_process(arm, Path(name), options))
                say(f"{arm}: {runs[arm][-1]['wall_s']:.1f} s, {runs[arm][-1]['cpu_s']:.1f} s of processors")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, facts(options) | {"pairs": pairs, "arms": show(runs, pairs), "all_rounds": runs})
    say(f"see {options.out}")


def show(runs: dict[str, list[dict[str, float]]], pairs: int) -> dict[str, dict[str, float]]:
    """A table, relative to `shared` or the first arm: medians of the ratios within a round."""
    against = "shared" if "shared" in runs else next(iter(runs))
    found = {}
    print(f"| arm | pairs/s | processor time over {against} | wall time | peak MB | of the largest worker |")
    print("|---|---:|---:|---:|---:|---:|")
    for arm, rounds in runs.items():
        ratio = {
            key: median(one[key] / other[key] for one, other in zip(rounds, runs[against], strict=True))
            for key in ("cpu_s", "wall_s")
        }
        most = {key: max(one[key] for one in rounds) for key in ("peak_mb", "largest_worker_mb")}
        rate = pairs / min(one["wall_s"] for one in rounds)
        found[arm] = {**ratio, **most, "pairs_per_s": rate}
        print(
            f"| {arm} | {rate:.2f} | {ratio['cpu_s']:.3f} | {ratio['wall_s']:.3f} | {most['peak_mb']:,.0f} "
            f"| {most['largest_worker_mb']:,.0f} |"
        )
    if "shared" in runs:
        one = runs["shared"][0]
        say(f"shared waited {one['waited_s'] / one['wall_s']:.1%}; {one['decodes_per_image']:g} decodes an image")
    return found


def facts(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "options": {name: value for name, value in vars(options).items() if name not in ("arm", "folder", "out")},
        "cpus": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": versions(),
    }


if __name__ == "__main__":
    main()
