"""What an audit found, as `leakage.jsonl` and `leakage.json` in an evaluation folder."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mmkd.cards.samples import Split
from mmkd.errors import DataError
from mmkd.folders.atomic import atomic_file
from mmkd.folders.json_lines import read_rows, write_json_lines

MATCHES = "leakage.jsonl"
SUMMARY = "leakage.json"


@dataclass(frozen=True)
class Match:
    """A sample whose image is, or may be, also elsewhere.

    source: "corpus" (its training rows), "train" or "val" of the data set itself. partner: id there. kind: "exact" =
    the same bytes or pixels; "near" = hashes alike. distance: bits of the hash. view: how the sample's image was
    mirrored or turned. similarity: cosine. confirmed: exact, or a similarity above the audit's threshold.
    """

    dataset: str
    sample: str
    split: Split
    source: str
    partner: str
    kind: Literal["exact", "near"]
    distance: int
    view: str
    similarity: float
    confirmed: bool


@dataclass(frozen=True)
class SetSummary:
    """Samples of one split of a data set, and how many of them have a confirmed exact or near copy, or only a candidate
    that was not confirmed, in the source."""

    dataset: str
    split: Split
    source: str
    samples: int
    exact: int
    near: int
    unconfirmed: int


@dataclass(frozen=True)
class LeakageSummary:
    """radius: bits. described_by: whose similarity confirms. threshold: of it. made_from: digest of all inputs."""

    radius: int
    described_by: str
    threshold: float
    made_from: str
    sets: list[SetSummary]


def write_audit(folder: Path, summary: LeakageSummary, matches: Sequence[Match]) -> None:
    """The summary is written last: with it the audit is complete."""
    write_json_lines(folder / MATCHES, matches)
    with atomic_file(folder / SUMMARY) as stream:
        stream.write(json.dumps(asdict(summary), allow_nan=False, indent=1).encode())


def read_summary(folder: Path) -> LeakageSummary | None:
    """None where there was no audit. Raises DataError for a damaged file."""
    path = folder / SUMMARY
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return LeakageSummary(**{**facts, "sets": [SetSummary(**row) for row in facts["sets"]]})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not the summary of an audit ({error}); delete it and evaluate again") from error


def read_matches(folder: Path) -> list[Match]:
    """None at all where there was no audit. Raises DataError that names the line that is no match."""
    path = folder / MATCHES
    return read_rows(path, Match, "match", "delete it and evaluate again") if path.is_file() else []


def leaked_samples(folder: Path, dataset: str) -> set[str]:
    """Ids of the test samples with a confirmed copy in the training corpus or another split; the rest is clean."""
    return {
        match.sample
        for match in read_matches(folder)
        if match.dataset == dataset and match.split == "test" and match.confirmed
    }


def summarised(matches: Sequence[Match], sizes: dict[tuple[str, Split, str], int]) -> list[SetSummary]:
    """A row for each data set, split and source that was looked up, with the best that was found of each sample.

    sizes: (data set, split, source) -> samples.
    """
    best: dict[tuple[str, Split, str, str], int] = {}
    for match in matches:
        rank = 0 if match.kind == "exact" else 1 if match.confirmed else 2
        key = (match.dataset, match.split, match.source, match.sample)
        best[key] = min(best.get(key, rank), rank)
    counts = Counter((*key[:3], rank) for key, rank in best.items())
    return [SetSummary(*key, size, *(counts[(*key, rank)] for rank in range(3))) for key, size in sizes.items()]
