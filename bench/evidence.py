"""How well the kinds of evidence for a modality agree on a curated corpus, and where they do not.

    python bench/evidence.py CORPUS [--list 20]

Prints for every two of source, label and caption: records on which both speak, share that agrees, Cohen's kappa; then
the first records on which they contradict each other. What the sources state is only evidence where they were curated.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from mmkd.corpus.evidence.agreement import disagreements, pairwise, said_of
from mmkd.corpus.schema import Corpus

ROWS = 4096  # read at a time
NEEDED = ["id", "caption", "labels", "modality", "modality_evidence"]


def rows_of(corpus: Corpus) -> Iterator[dict[str, str]]:
    for first in range(0, len(corpus), ROWS):
        yield from corpus.take(range(first, min(first + ROWS, len(corpus)))).select(NEEDED).to_pylist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--list", type=int, default=20, help="disagreements to print")
    arguments = parser.parse_args()
    corpus = Corpus(arguments.corpus)
    spoken = Counter(kind for row in rows_of(corpus) for kind in said_of(row))
    print(f"{len(corpus):,} pairs; " + ", ".join(f"{kind} speaks of {times:,}" for kind, times in spoken.items()))
    for found in pairwise(said_of(row) for row in rows_of(corpus)):
        print(f"{found.one} - {found.other}: n {found.records:,}, agree {found.share:.1%}, kappa {found.kappa:.3f}")
    for bad in islice(disagreements((row["id"], said_of(row)) for row in rows_of(corpus)), arguments.list):
        print(bad.id, bad.said)


if __name__ == "__main__":
    main()
