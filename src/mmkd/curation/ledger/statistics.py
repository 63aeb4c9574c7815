"""What a corpus holds, counted in one pass over its columns; the images themselves are not read."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmkd.curation.ledger.modality_evidence import NO_EVIDENCE, Conflict, is_conflict
from mmkd.curation.ledger.rows import corpus_batches
from mmkd.curation.ledger.tally import Repeats, most_common, repeats, summary
from mmkd.folders.digests import hash64

BY = ("split", "modality", "source", "licence", "language", "panel")  # columns whose values are counted
COLUMNS = (
    *("id", "caption", "group", "sha256", "width", "height", "labels", "modality_evidence", "modality_confidence"),
    *("caption_mention", "caption_group"),
    *BY,
)
MOST_CONFLICTS = 200  # that are listed one by one; all are counted
UNSAID = {"language": "not known", "panel": "single figure"}  # what "" means


NUMBERS = ("characters", "words", "width", "height", "confidence")
REPEATING = ("captions", "images", "groups")


@dataclass(frozen=True)
class CorpusStatistics:
    """A corpus in numbers. by: column -> value -> rows; modality_source: (modality, source) -> rows.

    numbers: what -> value -> rows: caption lengths in `characters` and `words`, image `width` and `height` in pixels,
    `confidence` in the modality in hundredths, where it is known. evidence: value of the column -> rows; conflicts: the
    first of those in which one kind disagrees. repeats: of captions, image bytes and groups.
    mentions: pairs with text of the article on the figure.
    """

    pairs: int
    by: Mapping[str, Counter[str]]
    modality_source: Counter[tuple[str, str]]
    numbers: Mapping[str, Counter[int]]
    evidence: Counter[str]
    conflicts: Sequence[Conflict]
    repeats: Mapping[str, Repeats]
    mentions: int

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
            "modality_evidence": most_common(self.evidence),
            "conflicts": self.conflicting,
        }


def corpus_statistics(folder: Path, label: str = "") -> CorpusStatistics:
    """Count a corpus folder, finished or not. label: of the progress that is shown. Raises DataError when it is
    none."""
    by: dict[str, Counter[str]] = {name: Counter() for name in BY}
    numbers: dict[str, Counter[int]] = {name: Counter() for name in NUMBERS}
    keys_of: dict[str, list[np.ndarray]] = {name: [] for name in REPEATING}
    tables: Counter[tuple[str, str]] = Counter()
    evidence: Counter[str] = Counter()
    conflicts: list[Conflict] = []
    pairs = mentions = 0
    for batch in corpus_batches(folder, COLUMNS, label):
        column = {name: batch.column(name).to_pylist() for name in COLUMNS}
        pairs += batch.num_rows
        for name, counts in by.items():
            counts.update(value or UNSAID.get(name, value) for value in column[name])
        for name, values in _numbers(column).items():
            numbers[name].update(values)
        for name, keys in _keys(column).items():
            keys_of[name].append(np.fromiter(keys, np.uint64, batch.num_rows))
        tables.update(zip(column["modality"], column["source"], strict=True))
        evidence.update(value or NO_EVIDENCE for value in column["modality_evidence"])
        conflicts += _conflicts(column)[: MOST_CONFLICTS - len(conflicts)]
        mentions += sum(map(bool, column["caption_mention"]))
    repeating = {name: repeats(keys) for name, keys in keys_of.items()}
    return CorpusStatistics(pairs, by, tables, numbers, evidence, conflicts, repeating, mentions)


def _numbers(column: dict[str, list[Any]]) -> dict[str, Iterable[int]]:
    confidences = zip(column["modality_confidence"], column["modality_evidence"], strict=True)
    return {
        "characters": map(len, column["caption"]),
        "words": (len(text.split()) for text in column["caption"]),
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
        "captions": column["caption_group"],
        "images": (int(digest[:16], 16) for digest in column["sha256"]),
        "groups": map(hash64, column["group"]),
    }
