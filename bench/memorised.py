"""Are teachers flattered by pairs that they were trained on? `python bench/memorised.py RUN`, after `extract`.

For each specialist of the run, whose training pairs are known, and each modality: the percentile of a pair's own
caption in the rank test on pairs of patients that it was trained on, less that on others, with the 95 % interval over
patients. Captions are wrong as often in both, so a gap that is no chance is memory. A patient with one such picture
counts as one that the teacher was trained on.
"""

import argparse
from pathlib import Path

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.features.store import FACTS, open_features
from mmkd.randomness import Purpose, generator
from mmkd.reliability.rank_test import both_ways
from mmkd.reliability.stack_pairs import variance_of_mean

FEWEST = 50  # pairs on either side
RIVALS = 64
Z_95 = 1.96


def patients(corpus: Corpus) -> np.ndarray:
    """The patient of each row (N,), strings; names of two sources are not the same patient."""
    named = zip(corpus.column("source"), corpus.column("group"), strict=True)
    return np.array([f"{source}/{group}" for source, group in named])


def trained_on(corpus: Corpus, own: Corpus) -> np.ndarray:
    """Which rows belong to a patient of whom the teacher's own training corpus has a picture (N,)."""
    in_train = np.array(own.column("split")) == "train"
    known = np.isin(np.array(corpus.column("sha256")), np.array(own.column("sha256"))[in_train])
    patient = patients(corpus)
    return np.asarray(np.isin(patient, patient[known]))


def gap(percentile: np.ndarray, patient: np.ndarray, seen: np.ndarray) -> tuple[float, float]:
    """Mean percentile on pairs that were seen less that on others, and its standard error over patients (N,)."""
    variance = 0.0
    for part in (seen, ~seen):  # no patient is in both
        unit = np.unique(patient[part], return_inverse=True)[1]
        variance += variance_of_mean(percentile[part], unit)
    return float(percentile[seen].mean() - percentile[~seen].mean()), variance**0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    corpus = Corpus(options.run / "corpus")
    patient = patients(corpus)
    names = sorted(path.parent.name for path in (options.run / "features").glob(f"[!.]*/{FACTS}"))
    rows = corpus.rows("train")
    print("teacher     modality         seen  other  percentile seen, other   gap [95 %]")
    for teacher in open_features(options.run / "features", corpus, names):
        own = options.run / "specialists" / f"{teacher.name}.corpus"
        if not own.is_dir():
            print(f"{teacher.name}: its training pairs are not known")
            continue
        seen = trained_on(corpus, Corpus(own))
        for modality in np.unique(corpus.modalities[rows]):
            inside = rows[(corpus.modalities[rows] == modality) & teacher.valid()[rows]]
            known = seen[inside]
            if min(known.sum(), (~known).sum()) < FEWEST:
                continue
            image_ND, text_ND, _ = teacher.take(inside)
            found = both_ways(image_ND, text_ND, RIVALS, generator(options.seed, Purpose.RELIABILITY_TEST))
            more, error = gap(found, patient[inside], known)
            low, high = more - Z_95 * error, more + Z_95 * error
            counts = f"{known.sum():5d}  {(~known).sum():5d}"
            shown = f"{found[known].mean():.3f}, {found[~known].mean():.3f}"
            print(f"{teacher.name:11s} {modality:15s} {counts}  {shown}   {more:+.3f} [{low:+.3f}, {high:+.3f}]")


if __name__ == "__main__":
    main()
