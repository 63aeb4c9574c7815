"""Do clusters stand in for modality labels? `python bench/clusters.py RUN`: a run folder with corpus and features.

Calibrates both ways into a temporary folder and prints, over the training pairs, how often both name the same best
teacher, the weight that the modality's best teacher has under clusters, and the mean posterior of captions.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.features.store import FACTS, open_features
from mmkd.folders.stage import Stage, complete
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stage import measure_reliability
from mmkd.reliability.table import load_reliability
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.targets.teacher_targets import TeacherTargets, teacher_targets


def measured(run: Path, by: str, folder: Path, seed: int) -> TeacherTargets:
    """What a recipe with caption_posterior would make of the run's training pairs."""
    corpus = Corpus(run / "corpus")
    names = sorted(path.parent.name for path in (run / "features").glob(f"[!.]*/{FACTS}"))
    settings = ReliabilitySettings.model_validate({"by": by})

    def body(partial: Path) -> dict[str, int]:
        return measure_reliability(settings, run / "corpus", run / "features", names, partial, seed)

    complete(Stage(by, folder / by, {}), body)
    features = open_features(run / "features", corpus, names)
    wanted = DistillSettings(caption_posterior=1.0)
    return teacher_targets(wanted, corpus, corpus.rows("train"), features, load_reliability(folder / by), seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        label, cluster = (measured(options.run, by, Path(folder), options.seed) for by in ("modality", "cluster"))
    best_N1 = label.weight_NT.argmax(axis=1)[:, None]
    has_N = label.weight_NT.max(axis=1) > 0
    same_N = cluster.weight_NT.argmax(axis=1)[:, None] == best_N1
    print(f"{has_N.sum():,} of {len(has_N):,} pairs have a trusted teacher by modality")
    print(f"the same best teacher by cluster: {same_N[has_N].mean():.3f}")
    weight_N = np.take_along_axis(cluster.weight_NT, best_N1, axis=1)[has_N]
    print(f"weight of the modality's best teacher by cluster: {weight_N.mean():.3f}")
    for by, found in (("modality", label), ("cluster", cluster)):
        print(f"mean posterior of a caption by {by}: {found.caption_weight_N.mean():.3f}")


if __name__ == "__main__":
    main()
