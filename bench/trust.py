"""How far calibrations made without labels trust the teachers whom one made with labels trusts, pair by pair.

    python bench/trust.py LABELLED RUN...

Each is a run with `corpus/` and `reliability/`, of the same teachers; pairs are matched by id. Counted are pairs that
the labelled corpus calls one of the nine modalities of the evaluation: how many have the same most trusted teacher in
both, and how the weights of all teachers on them are correlated.
"""

import argparse
from pathlib import Path

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.modalities.taxonomy import MODALITIES
from mmkd.reliability.table import load_reliability


def trust_by_id(run: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """The teachers, and each pair's weights of them."""
    corpus, reliability = Corpus(run / "corpus"), load_reliability(run / "reliability")
    weight_NK = reliability.weights(reliability.groups(corpus))
    return [one.name for one in reliability.teachers], dict(zip(corpus.column("id"), weight_NK, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("labelled", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args()
    teachers, wanted = trust_by_id(arguments.labelled)
    corpus = Corpus(arguments.labelled / "corpus")
    named = [one for one, name in zip(corpus.column("id"), corpus.modalities, strict=True) if name in MODALITIES]
    for run in arguments.runs:
        others, found = trust_by_id(run)
        ids = [one for one in named if one in found]
        if others != teachers or not ids:
            raise DataError(f"{run}: other teachers or other pairs than {arguments.labelled}; give runs of one recipe")
        found_NK, wanted_NK = (np.stack([weights[one] for one in ids]) for weights in (found, wanted))
        same_N = (found_NK.argmax(axis=1) == wanted_NK.argmax(axis=1)) & (found_NK.max(axis=1) > 0)
        like = np.corrcoef(found_NK.ravel(), wanted_NK.ravel())[0, 1]
        print(f"{run.name}: {len(ids):,} pairs, same teacher {same_N.mean():.1%}, correlation of weights {like:.2f}")


if __name__ == "__main__":
    main()
