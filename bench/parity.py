"""Are stage 1's losses those of open_clip's own trainer? From the same weights, in the same order, step by step.

    python bench/parity.py [--arms tiny-fp32 tiny-bf16 small-fp32 small-bf16 ViT-B-32-fp32 ViT-B-32-bf16]
                           [--steps 50] [--batch 16] [--pairs 240] [--threads 1]

The pairs are drawn pictures of two modalities with captions, resized by the model's own transform; nothing is
augmented, and joint positives are off. Both sides run one after the other in this process (`open_clip_trainer.py`).
Printed for each arm: the first and the last loss, the median and the largest difference of a step, the mean loss of
either side over the second half, and mmkd's processor and wall time over open_clip's (reading included, loading not;
below 1 mmkd is faster). mmkd's time includes the checkpoint and the student that it leaves, and it decodes each picture
once, where open_clip's loader decodes it every epoch.

In bf16 the towers compute the same on both sides, but open_clip also multiplies the embeddings in bf16, 8 bits of a
cosine times a scale of 14 and more, and mmkd in fp32: the first losses differ by a few hundredths, and after some steps
the two trainings take paths of their own, so that single steps differ by far more. `tiny` has one layer a tower,
`small` four. Writes bench/results/parity.json.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from open_clip_trainer import Case

from mmkd.corpus.schema import Corpus
from mmkd.curation.curate import corpus_stage, curate
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import TableSource
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import complete, versions
from mmkd.phantom.sampling import World
from mmkd.phantom.write import write_pairs
from mmkd.settings import Machine
from mmkd.student.settings import StudentSettings
from mmkd.training.settings.train import PretrainSettings

RESULT = Path(__file__).parent / "results" / "parity.json"
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
SMALL = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 128, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 4},
}
ARMS = {
    "tiny-fp32": (StudentSettings(config=TINY), "fp32", 1e-3),
    "tiny-bf16": (StudentSettings(config=TINY), "bf16", 1e-3),
    "small-fp32": (StudentSettings(config=SMALL), "fp32", 1e-3),
    "small-bf16": (StudentSettings(config=SMALL), "bf16", 1e-3),
    "ViT-B-32-fp32": (StudentSettings(model="ViT-B-32"), "fp32", 1e-4),
    "ViT-B-32-bf16": (StudentSettings(model="ViT-B-32"), "bf16", 1e-4),
}
"""Student, precision, peak learning rate."""


def small_corpus(folder: Path, pairs: int, machine: Machine) -> Corpus:
    """Drawn pictures of two modalities and their captions, curated."""
    write_pairs(folder / "pairs", World(("x-ray", "oct"), 0, "parity"), pairs)
    settings = CurateSettings(sources=[TableSource(kind="table", path=folder / "pairs" / "pairs.csv")], val=0.0)
    stage = corpus_stage(folder / "corpus", settings, settings.model_dump(mode="json"), 0)
    complete(stage, lambda partial: curate(settings, partial, machine, 0))
    return Corpus(stage.folder)


def compared(name: str, corpus: Corpus, folder: Path, machine: Machine, batch: int, steps: int) -> dict[str, Any]:
    """One arm; the number of steps is rounded up to whole epochs."""
    student, precision, lr = ARMS[name]
    each = len(corpus.rows("train")) // batch
    settings = PretrainSettings.model_validate(
        {"epochs": -(-steps // each), "batch_size": batch, "lr": lr, "warmup_steps": 5, "precision": precision}
    )
    case = Case(corpus, student, settings, folder / name, machine)
    theirs, ours = case.theirs(), case.ours()
    return {
        "arm": name,
        "steps": case.steps,
        "first_loss": theirs.losses[0],
        "last_loss": theirs.losses[-1],
        "apart": ours.apart(theirs),
        "median": median(abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=True)),
        "late": [fmean(side.losses[len(side.losses) // 2 :]) for side in (ours, theirs)],
        "cpu_ratio": ours.cpu_s / theirs.cpu_s,
        "wall_ratio": ours.wall_s / theirs.wall_s,
        "ours": vars(ours),
        "theirs": vars(theirs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["tiny-fp32", "tiny-bf16"])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=240)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    machine = Machine(device="cpu", workers=0, threads=asked.threads)
    torch.set_num_threads(asked.threads)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        corpus = small_corpus(Path(name), asked.pairs, machine)
        print(
            "| student, precision | steps | first loss | last loss | median difference | largest difference "
            "| mean of the second half, mmkd and open_clip | processor time | wall time |"
        )
        print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
        for arm in asked.arms:
            row = compared(arm, corpus, Path(name), machine, asked.batch, asked.steps)
            rows.append(row)
            print(
                f"| {arm} | {row['steps']} | {row['first_loss']:.4f} | {row['last_loss']:.4f} "
                f"| {row['median']:.1e} | {row['apart']:.1e} | {row['late'][0]:.3f}, {row['late'][1]:.3f} "
                f"| {row['cpu_ratio']:.2f} | {row['wall_ratio']:.2f} |",
                flush=True,
            )
    write_json(RESULT, {"rows": rows, "options": vars(asked), "versions": versions()})


if __name__ == "__main__":
    main()
