"""How well the kinds of evidence for a modality agree on a curated corpus, and where they do not.

    python bench/evidence.py CORPUS [--features FOLDER] [--list 20]

Prints for every two of source, label, caption and, with features, image: records on which both speak, share that
agrees, Cohen's kappa; then the first records on which they contradict each other. What a source states is only evidence
where someone curated it.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from mmkd.corpus.evidence.agreement import disagreements, pairwise, said_of
from mmkd.corpus.schema import Corpus
from mmkd.features.modality import image_evidence
from mmkd.features.store import FACTS, open_features

ROWS = 4096  # read at a time
NEEDED = ["id", "caption", "labels", "modality", "modality_evidence"]


def said_in(corpus: Corpus, seen_N: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Id and kind of evidence -> modality, row by row; seen_N: what the teachers see, "" for nothing."""
    for first in range(0, len(corpus), ROWS):
        rows = corpus.take(range(first, min(first + ROWS, len(corpus)))).select(NEEDED).to_pylist()
        for row, seen in zip(rows, seen_N[first : first + ROWS], strict=True):
            yield row["id"], said_of(row) | ({"image": seen} if seen else {})


def seen_by_teachers(corpus: Corpus, folder: Path) -> Sequence[str]:
    teachers = open_features(folder, corpus, sorted(path.parent.name for path in folder.glob(f"*/{FACTS}")))
    found = image_evidence(corpus, teachers)
    print("reliability of the teachers: " + ", ".join(f"{name} {r:.2f}" for name, r in found.reliability.items()))
    seen: list[str] = found.modality_N.tolist()
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--features", type=Path, help="folder of the teachers' features of this corpus")
    parser.add_argument("--list", type=int, default=20, help="disagreements to print")
    arguments = parser.parse_args()
    corpus = Corpus(arguments.corpus)
    seen_N = seen_by_teachers(corpus, arguments.features) if arguments.features else [""] * len(corpus)
    spoken = Counter(kind for _, said in said_in(corpus, seen_N) for kind in said)
    print(f"{len(corpus):,} pairs; " + ", ".join(f"{kind} speaks of {times:,}" for kind, times in spoken.items()))
    for found in pairwise(said for _, said in said_in(corpus, seen_N)):
        print(f"{found.one} - {found.other}: n {found.records:,}, agree {found.share:.1%}, kappa {found.kappa:.3f}")
    for bad in islice(disagreements(said_in(corpus, seen_N)), arguments.list):
        print(bad.id, bad.said)


if __name__ == "__main__":
    main()
