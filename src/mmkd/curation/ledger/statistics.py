"""What a corpus holds, counted in one pass over its columns; the images themselves are not read.

The column `modality_evidence` names the kinds that have a vote (source, label, caption, image), joined by "+", with "!"
before one that is against the modality the record was given.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmkd.curation.ledger.rows import corpus_batches
from mmkd.curation.ledger.tally import Repeats, most_common, repeats, summary
from mmkd.folders.digests import hash64, key_of

BY = ("split", "modality", "source", "licence", "language", "panel")  # columns whose values are counted
COLUMNS = (
    *("id", "caption", "group", "sha256", "width", "height", "labels", "modality_evidence", "modality_confidence"),
    *("caption_mention", "caption_group"),
    *BY,
)
MOST_CONFLICTS = 200  # that are listed one by one; all are counted
NO_EVIDENCE = "none recorded"
UNSAID = {"language": "not known", "panel": "single figure"}  # what "" means
NUMBERS = ("characters", "words", "width", "height", "confidence")
REPEATING = ("captions", "images", "groups")


@dataclass(frozen=True)
class Conflict:
    """A record whose sources of evidence for its modality disagree. evidence: as the corpus column has it."""

    id: str
    source: str
    modality: str
    evidence: str
    labels: str
    caption: str


def is_conflict(evidence: str) -> bool:
    """Whether one source of evidence disagrees with the modality a record was given."""
    return any(one.startswith("!") for one in evidence.split("+"))


@dataclass(frozen=True)
class CorpusStatistics:
    """A corpus in numbers. pairs: rows, among them pictures without a caption. by: column -> value -> rows;
    modality_source: (modality, source) -> rows.

    numbers: what -> value -> rows: caption lengths in `characters` and `words`, image `width` and `height` in pixels,
    `confidence` in the modality in hundredths, where it is known. evidence: value of the column -> rows; conflicts: the
    first of those in which one kind disagrees. repeats: of captions, image bytes and groups.
    mentions: pairs with text of the article on the figure. in_both_splits: different images. captionless: pictures
    without a caption, which are in no count of captions.
    """

    pairs: int
    by: Mapping[str, Counter[str]]
    modality_source: Counter[tuple[str, str]]
    numbers: Mapping[str, Counter[int]]
    evidence: Counter[str]
    conflicts: Sequence[Conflict]
    repeats: Mapping[str, Repeats]
    mentions: int
    captionless: int = 0
    in_both_splits: int = 0

    @property
    def captioned(self) -> int:
        """Rows with a caption."""
        return self.pairs - self.captionless

    @property
    def conflicting(self) -> int:
        """Rows with a conflict, all of them."""
        return sum(times for evidence, times in self.evidence.items() if is_conflict(evidence))

    def to_json(self) -> dict[str, Any]:
        """What `mmkd corpus stats --json` prints."""
        return {
            "pairs": self.pairs,
            **{name: most_common(counts) for name, counts in self.by.items()},
            **{name: summary(counts) for name, counts in self.numbers.items()},
            "repeats": {name: vars(found) for name, found in self.repeats.items()},
            "mentions": self.mentions,
            "captionless": self.captionless,
            "images_in_both_splits": self.in_both_splits,
            "modality_evidence": most_common(self.evidence),
            "conflicts": self.conflicting,
        }


def corpus_statistics(folder: Path, label: str = "") -> CorpusStatistics:
    """Count a corpus folder, finished or not. label: of the progress that is shown. Raises DataError when it is
    none."""
    by: dict[str, Counter[str]] = {name: Counter() for name in BY}
    numbers: dict[str, Counter[int]] = {name: Counter() for name in NUMBERS}
    keys_of: dict[str, list[np.ndarray]] = {name: [] for name in REPEATING}
    held_out: list[np.ndarray] = []
    tables: Counter[tuple[str, str]] = Counter()
    evidence: Counter[str] = Counter()
    conflicts: list[Conflict] = []
    pairs = mentions = captionless = 0
    for batch in corpus_batches(folder, COLUMNS, label):
        column = {name: batch.column(name).to_pylist() for name in COLUMNS}
        pairs += batch.num_rows
        for name, counts in by.items():
            counts.update(value or UNSAID.get(name, value) for value in column[name])
        for name, values in _numbers(column).items():
            numbers[name].update(values)
        for name, keys in _keys(column).items():
            keys_of[name].append(np.fromiter(keys, np.uint64))
        held_out.append(np.array([split == "val" for split in column["split"]], bool))
        tables.update(zip(column["modality"], column["source"], strict=True))
        evidence.update(value or NO_EVIDENCE for value in column["modality_evidence"])
        conflicts += _conflicts(column)[: MOST_CONFLICTS - len(conflicts)]
        mentions += sum(map(bool, column["caption_mention"]))
        captionless += column["caption"].count("")
    repeating = {name: repeats(keys) for name, keys in keys_of.items()}
    both = _in_both(keys_of["images"], held_out)
    return CorpusStatistics(pairs, by, tables, numbers, evidence, conflicts, repeating, mentions, captionless, both)


def _in_both(keys: Sequence[np.ndarray], held_out: Sequence[np.ndarray]) -> int:
    """Different values of which some rows are held out and some are not."""
    key_N, held_out_N = np.concatenate([np.empty(0, np.uint64), *keys]), np.concatenate([np.empty(0, bool), *held_out])
    return len(np.intersect1d(key_N[held_out_N], key_N[~held_out_N]))


def _numbers(column: dict[str, list[Any]]) -> dict[str, Iterable[int]]:
    confidences = zip(column["modality_confidence"], column["modality_evidence"], strict=True)
    captions = [text for text in column["caption"] if text]
    return {
        "characters": map(len, captions),
        "words": (len(text.split()) for text in captions),
        "width": column["width"],
        "height": column["height"],
        "confidence": (round(100 * value) for value, evidence in confidences if evidence),
    }


def _conflicts(column: dict[str, list[Any]]) -> list[Conflict]:
    names = ("id", "source", "modality", "modality_evidence", "labels", "caption")
    rows = zip(*(column[name] for name in names), strict=True)
    return [Conflict(*row) for row in rows if is_conflict(row[3])]


def _keys(column: dict[str, list[Any]]) -> dict[str, Iterable[int]]:
    """64-bit keys of what may repeat: two of 24 million values collide with a probability of 2e-5."""
    return {
        "captions": (key for key, text in zip(column["caption_group"], column["caption"], strict=True) if text),
        "images": map(key_of, column["sha256"]),
        "groups": map(hash64, column["group"]),
    }


@dataclass(frozen=True)
class Agreement:
    """For how many records a kind of evidence has a vote, and for how many it is the modality in the corpus."""

    spoke: int
    agreed: int


def agreements(evidence: Counter[str]) -> dict[str, Agreement]:
    """Kind of evidence (source, label, caption, image) -> how it did; and of two that both voted, `a and b`.

    Two agree when both are for the modality of the corpus; of two that are both against it that is not known, and
    they count as disagreeing.
    """
    spoke: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    for value, times in evidence.items():
        if value == NO_EVIDENCE:
            continue
        votes = {one.removeprefix("!"): not one.startswith("!") for one in value.split("+")}
        names = sorted(votes)
        for group in [(name,) for name in names] + [(a, b) for a in names for b in names if a < b]:
            key = " and ".join(group)
            spoke[key] += times
            agreed[key] += times * all(votes[name] for name in group)
    order = sorted(spoke, key=lambda key: (" and " in key, key))
    return {key: Agreement(spoke[key], agreed[key]) for key in order}
