"""What a step of stage 2 costs, against the same model run the way the public MMKD-CLIP code runs it.

    python bench/train.py [--realdata ../shared/realdata] [--batch 16] [--steps 1] [--rounds 1] [--buckets 4]
                          [--threads 1] [--workers 0] [--device auto] [--only ARM ...] [--tiny]
                          [--out FILE]

A ViT-B/16 with a BERT-base text tower, context 256, random weights; real images and captions, tokenised by a WordPiece
of their own words; random features of nine teachers, affinity with a share of the captions. The arms see the same
batches and take turns; each differs from `default` in what it names, `public` in all of it:

* `padding`: the text tower gets every caption padded to the context, all in one call.
* `one_group`: the text tower gets the batch in one group, cut to its longest caption.
* `reading`: one `torch.save` file a pair with its features, one image file, the caption tokenised on the way.
* `anomaly`: autograd looks for NaN behind every operation.
* `fp32`: no autocast (GPU only; on a CPU all arms are fp32).

The fastest time of each arm counts, and its least processor time, which other work on the machine disturbs less. Then
the parts of a step of `default` are timed one after another, each until the device is done. `--tiny` makes the towers
small, to try the script. Writes bench/results/train.json.
"""

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from train_world import BenchWorld, PaddedTowers

from mmkd.distributed import ALONE
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import versions
from mmkd.progress import say
from mmkd.training.batches import Prefetcher, loader
from mmkd.training.data.augment import normalise
from mmkd.training.data.view import Embedded
from mmkd.training.engine import clipped_norm, make_engine
from mmkd.training.objectives.objective import Objective
from mmkd.training.optimizer import make_optimizer
from mmkd.training.records.checkpoint import Trained
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.tables import OBJECTIVES
from mmkd.training.step import Stepper
from mmkd.training.throughput import Throughput

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "train.json"
AIM = 1.6  # default over `padding`, on a CPU
WARM_UP = 2  # pairs of the step before the clock starts, which makes the optimiser's state
READ = 8  # batches, to time reading alone


@dataclass(frozen=True)
class Arm:
    """What an arm does otherwise."""

    padded: bool = False
    groups: int | None = None
    files: bool = False
    anomaly: bool = False
    fp32: bool = False


ARMS = {
    "default": Arm(),
    "one_group": Arm(groups=1),
    "padding": Arm(padded=True),
    "reading": Arm(files=True),
    "anomaly": Arm(anomaly=True),
    "fp32": Arm(fp32=True),
    "public": Arm(padded=True, files=True, anomaly=True, fp32=True),
}


class Bench:
    """Runs the arms on the world that they share."""

    def __init__(self, world: BenchWorld, options: argparse.Namespace) -> None:
        self.world, self.options, self.device, self.machine = world, options, world.device, world.machine
        self.model, self.gpu = world.model, world.device.type == "cuda"
        self.settings = DistillSettings(
            batch_size=options.batch,
            text_buckets=options.buckets,
            contrastive=0.3,
            precision="bf16" if self.gpu else "fp32",
        )
        generator = torch.Generator().manual_seed(0)
        self.objective: Objective = OBJECTIVES["affinity"].load()(
            self.settings, self.model.dim, world.shapes, generator
        )
        self.objective.to(self.device)

    def stepper(self, arm: Arm) -> Stepper:
        """Everything that a step of the arm needs; weights go on from the arm before."""
        bf16 = self.settings.precision == "bf16" and not arm.fp32
        groups = arm.groups or self.settings.text_buckets
        engine = make_engine(self.model.network, groups, bf16, self.machine, self.device, ALONE)
        if arm.padded:
            engine.towers = PaddedTowers(self.model.network, 1)
        modules = nn.ModuleDict({"student": self.model.network, "objective": self.objective})
        trained = Trained(modules, make_optimizer(modules, self.settings))
        return Stepper(engine, self.model, self.objective, trained, self.settings, 0)

    def run(self, name: str) -> dict[str, float]:
        """Some steps of an arm: seconds, processor time, and what the records of a training would say."""
        arm, stepper = ARMS[name], self.stepper(ARMS[name])
        steps = range(self.options.steps)
        stepper(next(Prefetcher([self.world.batches(WARM_UP)[0]], self.device)), 0)
        source: Any = self.world.batches(self.options.batch)
        if arm.files:
            read: Any = DataLoader(self.world.files, batch_size=None, sampler=steps, num_workers=self.options.workers)
        else:
            read = loader(source, 0, len(steps), self.machine)
        if self.gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        meter = Throughput(stepper.engine, self.model, self.options.batch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch says that looking for anomalies is slow
            with torch.autograd.detect_anomaly() if arm.anomaly else nullcontext():
                self.synchronise()
                start, used = time.perf_counter(), time.process_time()
                batches = Prefetcher(read, self.device)
                for step, batch in enumerate(batches):
                    stepper(batch, step)
                    meter.add(batch, batches.waited)
                self.synchronise()
                found = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - used}
        return found | meter.record()

    def split(self) -> dict[str, float]:
        """Seconds of the parts of one step of `default`: data, towers (both ways), losses (both ways), optimiser."""
        stepper = self.stepper(ARMS["default"])
        seconds: dict[str, float] = {}
        source = iter(Prefetcher(loader(self.world.batches(self.options.batch), 0, 2, self.machine), self.device))
        batch = self._timed(seconds, "data", lambda: next(source))
        mean, std = (torch.tensor(self.model.preprocess[name], device=self.device) for name in ("mean", "std"))

        def towers() -> Embedded:
            image = normalise(batch.image_BCHW, mean, std)
            with stepper.engine.autocast():
                image_BD, text_BD, scale, _ = stepper.engine.towers(image, batch.token_BL, batch.length_B)
            return Embedded(image_BD.float(), text_BD.float(), scale.float())

        embedded = self._timed(seconds, "towers", towers)
        sides = (embedded.image_BD, embedded.text_BD, embedded.scale)
        leaves = Embedded(*(side.detach().requires_grad_() for side in sides))

        def losses() -> None:
            found = stepper._losses(leaves, batch, 0)
            stepper._total(found).backward()  # type: ignore[no-untyped-call]

        self._timed(seconds, "losses", losses)
        kept = [(side, leaf.grad) for side, leaf in zip(vars(embedded).values(), vars(leaves).values(), strict=True)]
        sides, gradients = zip(*((side, gradient) for side, gradient in kept if gradient is not None), strict=True)
        self._timed(seconds, "towers", lambda: torch.autograd.backward(sides, gradients))
        parameters = list(self.model.network.parameters())

        def update() -> None:
            clipped_norm([p for p in parameters if p.grad is not None], 1.0)
            stepper.trained.optimizer.step()

        self._timed(seconds, "optimiser", update)
        return seconds

    def reading(self) -> dict[str, float]:
        """Pairs a second that are read when nothing else is done, both ways, in this process."""
        rates = {}
        for way, source in (("default", self.world.batches(self.options.batch)), ("files", self.world.files)):
            start = time.perf_counter()
            for step in range(READ):
                source[step]
            rates[way] = READ * self.options.batch / (time.perf_counter() - start)
        return rates

    def synchronise(self) -> None:
        """Wait until the device has done what it was given."""
        if self.gpu:
            torch.cuda.synchronize(self.device)

    def _timed(self, seconds: dict[str, float], name: str, part: Callable[[], Any]) -> Any:
        self.synchronise()
        start = time.perf_counter()
        found = part()
        self.synchronise()
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
        return found


def best(runs: list[dict[str, float]], pairs: int) -> dict[str, float]:
    """The fastest run of an arm, with its rate; the least processor time of all of them."""
    fastest = min(runs, key=lambda run: run["wall_s"])
    return {**fastest, "pairs_per_s": pairs / fastest["wall_s"], "cpu_s": min(run["cpu_s"] for run in runs)}


def measured(bench: Bench, names: list[str], rounds: int) -> dict[str, list[dict[str, float]]]:
    """All rounds of all arms, which take turns."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            runs[name].append(bench.run(name))
            say(f"{name}: {runs[name][-1]['wall_s']:.1f} s, {runs[name][-1]['cpu_s']:.1f} s of processors")
    return runs


def show(found: dict[str, dict[str, float]], split: dict[str, float]) -> None:
    """One line an arm, and the parts of a step."""
    default = found["default"]
    for name, arm in found.items():
        mfu = f", MFU {arm['mfu']:.1%}" if "mfu" in arm else ""
        say(
            f"{name:10} {arm['pairs_per_s']:8.2f} pairs/s; default is {arm['wall_s'] / default['wall_s']:.2f} x as "
            f"fast, {arm['cpu_s'] / default['cpu_s']:.2f} x in processor time; waits {arm['wait']:.1%}{mfu}"
        )
    total = sum(split.values())
    say("a step: " + ", ".join(f"{name} {value / total:.1%}" for name, value in split.items()))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    realdata = Path(os.environ.get("MMKD_REALDATA", ROOT.parent / "shared" / "realdata"))
    parser.add_argument("--realdata", type=Path, default=realdata)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--buckets", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="of torch; 0: its own choice")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", nargs="+", choices=[name for name in ARMS if name != "default"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path, help="the JSON file that is written, also with --tiny")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory() as name:
        world = BenchWorld(Path(name), options)
        bench = Bench(world, options)
        names = [
            "default",
            *(options.only or [arm for arm in ARMS if arm not in ("default", "fp32" * (not bench.gpu))]),
        ]
        runs = measured(bench, names, options.rounds)
        found = {arm: best(of, options.batch * options.steps) for arm, of in runs.items()}
        split, reading = bench.split(), bench.reading()
        length_N = np.asarray(world.captions.length_U)[np.asarray(world.captions.code_N)]
    show(found, split)
    say("reading alone, pairs/s: " + ", ".join(f"{way} {rate:.0f}" for way, rate in reading.items()))
    say(f"tokens a caption: {length_N.mean():.1f} on average, 9 of 10 at most {np.percentile(length_N, 90):.0f}")
    out = options.out or (None if options.tiny else RESULT)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, _result(options, found, split, runs, length_N) | {"reading_pairs_per_s": reading})
        say(f"see {out}")


def _result(options: argparse.Namespace, found: Any, split: Any, runs: Any, length_N: np.ndarray) -> dict[str, Any]:
    ratio = {arm: round(of["wall_s"] / found["default"]["wall_s"], 3) for arm, of in found.items()}
    return {
        "arms": found,
        "default_is_faster_by": ratio,
        "default_is_faster_by_cpu": {
            arm: round(of["cpu_s"] / found["default"]["cpu_s"], 3) for arm, of in found.items()
        },
        "aim_from_padding": AIM,
        "split_s": split,
        "losses_share": split["losses"] / sum(split.values()),
        "tokens_mean": float(length_N.mean()),
        "tokens_p90": float(np.percentile(length_N, 90)),
        "all_rounds": runs,
        "options": json.loads(json.dumps({k: v for k, v in vars(options).items() if k not in ("realdata", "out")})),
        "cpus": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": versions(),
    }


if __name__ == "__main__":
    main()
