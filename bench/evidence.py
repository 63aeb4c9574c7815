"""How well teachers see the modality of pictures, against what the sources state, and what their votes are worth.

    python bench/evidence.py RUN [--source NAME] [--among JSONL KEY VALUE] [--list 20]

RUN holds `corpus/` and `evidence/`, see `mmkd evidence`. Prints what that command prints and, for the pairs of one
source or of all (or those whose `id` stands in a line of JSONL in which KEY is VALUE), how often picture, caption and
verdict without the source's own word are what the source states, by how sure they are; what a source states is the
truth only where someone curated it.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from mmkd.commands.evidence import LISTED, show
from mmkd.curation.ledger.rows import corpus_batches
from mmkd.curation.modality.votes import Vote, agree, weigh
from mmkd.features.evidence.corpus_votes import COLUMNS, votes_of
from mmkd.features.evidence.stored import IMAGE, StoredEvidence
from mmkd.modalities.taxonomy import MODALITIES

Votes = Mapping[str, Vote | None]
JUDGES: dict[str, Callable[[Votes], Vote | None]] = {
    "image": lambda votes: votes[IMAGE],
    "image, caption says nothing": lambda votes: None if votes["caption"] else votes[IMAGE],
    "caption": lambda votes: votes["caption"],
    "label, caption and image": lambda votes: _verdict({**votes, "source": None}),
}


def _verdict(votes: Votes) -> Vote | None:
    found = weigh(votes)
    return Vote(found.modality, found.confidence) if found.evidence else None


def ids_among(file: Path, key: str, value: str) -> set[str]:
    rows = (json.loads(line) for line in file.read_text().splitlines())
    return {row["id"] for row in rows if str(row.get(key)) == value}


def all_votes(run: Path, source: str | None, among: set[str] | None) -> Iterator[Votes]:
    """Of the pairs whose source states one of the nine modalities of the evaluation."""
    evidence = StoredEvidence(run / "evidence", run / "corpus")
    seen = (row for batch in evidence.batches("image_modality", "image_confidence") for row in batch.to_pylist())
    rows = (row for batch in corpus_batches(run / "corpus", (*COLUMNS, "source", "id")) for row in batch.to_pylist())
    for row, beside in zip(rows, seen, strict=True):
        votes = votes_of(row)
        wanted = (source is None or row["source"] == source) and (among is None or row["id"] in among)
        if wanted and votes["source"] and votes["source"].modality in MODALITIES:
            image = beside["image_modality"]
            yield {**votes, IMAGE: Vote(image, beside["image_confidence"]) if image else None}


def judged(found: list[Votes]) -> Iterator[str]:
    for name, judge in JUDGES.items():
        said = [(vote, votes["source"]) for votes in found if (vote := judge(votes)) is not None]
        if not said:
            continue
        right = [(vote.trust, agree(vote.modality, truth.modality)) for vote, truth in said if truth is not None]
        share = sum(is_right for _, is_right in right) / len(right)
        meant = sum(trust for trust, _ in right) / len(right)
        yield f"{name}: speaks of {len(right):,}, right {share:.1%}, says {meant:.1%}"
        for tenth, cells in groupby(sorted(right), key=lambda one: min(int(one[0] * 10), 9)):
            bins = list(cells)
            says, is_so = (sum(one[place] for one in bins) / len(bins) for place in (0, 1))
            yield f"    {tenth / 10:.1f}..{(tenth + 1) / 10:.1f}: {len(bins):,}, says {says:.1%}, right {is_so:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--source", help="only pairs of this source")
    parser.add_argument("--among", nargs=3, metavar=("JSONL", "KEY", "VALUE"), help="only pairs that a file tells of")
    parser.add_argument("--list", type=int, default=LISTED, help="conflicts to print")
    arguments = parser.parse_args()
    show(arguments.run / "evidence", arguments.list)
    among = ids_among(Path(arguments.among[0]), *arguments.among[1:]) if arguments.among else None
    found = list(all_votes(arguments.run, arguments.source, among))
    told = " ".join([arguments.source or "all sources", *(arguments.among or [])[1:]])
    print(f"\n{len(found):,} pairs of {told} whose source states one of the nine modalities")
    print("\n".join(judged(found)))


if __name__ == "__main__":
    main()
