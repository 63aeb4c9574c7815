"""What one shared pass over the images costs, against five passes of open_clip and against the networks alone.

    python bench/extract.py [--pairs 128] [--teachers 5] [--batch 32] [--workers 2] [--threads 0] [--rounds 2]
                            [--device auto] [--precision fp32]

Three arms over the same real pairs (../shared/realdata or $MMKD_REALDATA) with ViT-B/32 teachers of random weights:
`networks`: their forward passes over images and token ids that lie in memory, nothing else. `shared`: `mmkd extract`
as users run it, stored features included. `separate`: for each teacher a DataLoader with open_clip's own transform and
tokenizer, as users write it. Loading models is left out. The arms take turns; the fastest time of each counts, and the
least processor time of all its processes, which other work on the machine disturbs less and in which nothing is hidden:
it contains decoding, resizing, tokenising and writing. Writes bench/results/extract.json.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmkd.corpus.schema import Corpus
from mmkd.curation.curate import corpus_stage, curate
from mmkd.curation.settings.curate import CurateSettings, TableSource
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
AIM = 1.05  # shared pass over the networks alone


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """The corpus as an open_clip user reads it."""

    def __init__(self, corpus: Corpus, transform: Callable[[Image.Image], Tensor], tokenizer: Any) -> None:
        self.corpus, self.transform, self.tokenizer = corpus, transform, tokenizer

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        table = self.corpus.take([row])
        image = decode(table.column("image").combine_chunks().field("bytes")[0].as_py())
        return self.transform(image), self.tokenizer([table.column("caption")[0].as_py()])[0]


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
        save(build(architecture("ViT-B-32")), self.folder / "model")
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

    def separate(self) -> dict[str, float]:
        """One pass over the images for each teacher."""
        seconds, used = 0.0, 0.0
        dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.options.precision)
        for spec in self.specs:
            network, transform = open_clip.create_model_from_pretrained(spec.model, device=self.device)
            tokenizer = open_clip.get_tokenizer(spec.model)
            start, before = time.perf_counter(), cpu_s()
            loader = DataLoader(
                Pairs(self.corpus, transform, tokenizer), self.options.batch, num_workers=self.options.workers
            )
            with torch.inference_mode(), torch.autocast(self.device.type, dtype, enabled=dtype is not None):
                for image, text in loader:
                    network.encode_image(image.to(self.device), normalize=True).float().cpu()
                    network.encode_text(text.to(self.device), normalize=True).float().cpu()
            seconds, used = seconds + time.perf_counter() - start, used + cpu_s() - before
        return {"wall_s": seconds, "cpu_s": used}


def cpu_s() -> float:
    """Processor time of this process and of its workers that have ended."""
    found = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in found)


def in_a_process(arm: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Run an arm in a fresh process, so that its peak memory is its own."""
    given = [f"--{name}={value}" for name, value in vars(options).items() if value is not None]
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
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        one_arm(Bench(options.folder, options), options.arm)
        return
    found: dict[str, list[dict[str, float]]] = {"networks": [], "shared": [], "separate": []}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), options)
        bench.write()
        pairs = len(bench.corpus)
        for _ in range(options.rounds):
            for arm, runs in found.items():
                runs.append(in_a_process(arm, Path(name), options))
                say(f"{arm}: {runs[-1]['wall_s']:.1f} s, {runs[-1]['cpu_s']:.1f} s of processors")
    best = {arm: min(runs, key=lambda run: run["wall_s"]) for arm, runs in found.items()}
    work_s = {arm: min(run["cpu_s"] for run in runs) for arm, runs in found.items()}
    ratio, work = best["shared"]["wall_s"] / best["networks"]["wall_s"], work_s["shared"] / work_s["networks"]
    result: dict[str, Any] = {
        "pairs": pairs,
        "pairs_per_s": {arm: round(pairs / run["wall_s"], 2) for arm, run in best.items()},
        "shared_over_networks": round(ratio, 3),
        "shared_over_networks_cpu": round(work, 3),
        "aim": AIM,
        "separate_over_shared": round(best["separate"]["wall_s"] / best["shared"]["wall_s"], 2),
        "separate_over_shared_cpu": round(work_s["separate"] / work_s["shared"], 2),
        "share_waiting_for_data": round(best["shared"]["waited_s"] / best["shared"]["wall_s"], 4),
        "decodes_per_image": best["shared"]["decodes_per_image"],
        "peak_mb": {arm: round(run["peak_mb"]) for arm, run in best.items()},
        "all_rounds": found,
        "options": {name: value for name, value in vars(options).items() if name not in ("arm", "folder")},
        "cpus": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": versions(),
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    write_json(RESULT, result)
    rates = ", ".join(f"{arm} {rate}" for arm, rate in result["pairs_per_s"].items())
    say(f"{pairs} pairs x {options.teachers} teachers, pairs/s: {rates}")
    say(f"shared pass = {ratio:.3f} x the networks alone (aim {AIM}); {work:.3f} x in processor time")
    say(
        f"separate passes = {result['separate_over_shared']} x the shared one; "
        f"{result['separate_over_shared_cpu']} x in processor time"
    )
    say(f"waiting for data {result['share_waiting_for_data']:.1%}; {result['decodes_per_image']:g} decodes an image")
    say(f"peak MB: {result['peak_mb']}; see {RESULT}")


if __name__ == "__main__":
    main()
