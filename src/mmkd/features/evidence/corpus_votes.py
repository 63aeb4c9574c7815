"""Votes of source, labels and caption for the modality of every row of a corpus, in a few bytes a row.

Letters: N rows, K the kinds of evidence that a corpus holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmkd.curation.captions.drawn import drawn_word
from mmkd.curation.ledger.rows import shard_batches, shards_of
from mmkd.curation.modality.votes import NAMED, Vote, caption_vote, label_vote, source_vote
from mmkd.modalities.taxonomy import BY_NAME, OTHER
from mmkd.processes import worker_pool

CORPUS_KINDS = ("source", "label", "caption")  # kinds of evidence in a corpus; the teachers' votes are the fourth
COLUMNS = ("caption", "labels", "modality", "modality_stated", "modality_evidence", "caption_group")
NAMES = ("", *BY_NAME, OTHER)
"""The modalities by their place in `known_N`."""


@dataclass(frozen=True)
class CorpusVotes:
    """votes: the different ones, the first is None. place_NK: of each row's in `votes`, int16, kinds as in
    CORPUS_KINDS.

    known_N: the modality that the caption names outright, or `other` of a figure that is drawn by it or by its labels;
    a place in NAMES, 0 where neither, or both. group_N: number of the caption, uint64."""

    votes: list[Vote | None]
    place_NK: np.ndarray
    known_N: np.ndarray
    group_N: np.ndarray

    def __len__(self) -> int:
        return len(self.known_N)


def parent_of(modality: str) -> str:
    """A modality in the words of its parent, so that x-ray and mammography agree; others as they are."""
    return (BY_NAME[modality].parent or modality) if modality in BY_NAME else modality


def halves(votes: CorpusVotes) -> np.ndarray:
    """Cuts the rows in two (N,), 0 or 1, equal captions on one side, so that both have about as many rows of a
    modality.

    From the most frequent on, each caption goes where fewer rows of its modality are so far: parts cut at random would
    leave a source of four captions, all of one modality, on one side as often as not.
    """
    group_G, first_G, of_N, count_G = np.unique(
        votes.group_N, return_index=True, return_inverse=True, return_counts=True
    )
    rows = [[0, 0] for _ in NAMES]
    half_G = np.zeros(len(group_G), np.int8)
    known, counts = votes.known_N[first_G].tolist(), count_G.tolist()
    for place in np.lexsort((group_G, -count_G)).tolist():
        so_far = rows[known[place]]
        half_G[place] = half = int(so_far[1] < so_far[0])
        so_far[half] += counts[place]
    return np.asarray(half_G[of_N])


def votes_of(row: Mapping[str, str]) -> dict[str, Vote | None]:
    """Kind of evidence -> its vote, of a corpus row with COLUMNS.

    A corpus that has no `modality_stated` yet still shows by `modality_evidence` that its modality is the source's.
    """
    stated = row["modality_stated"]
    if not stated and "source" in row["modality_evidence"].split("+"):
        stated = row["modality"]
    return {
        "source": source_vote(stated),
        "label": label_vote([label for label in row["labels"].split("; ") if label]),
        "caption": caption_vote(row["caption"]),
    }


def known_modality(caption: str, votes: Mapping[str, Vote | None]) -> str:
    """The modality that is known well enough to learn from, see `CorpusVotes.known_N`; "" for none."""
    named = votes["caption"]
    by_caption = named.modality if named is not None and named.trust >= NAMED else ""
    label = votes["label"]
    is_drawn = bool(drawn_word(caption)) or (label is not None and label.modality == OTHER)
    return (OTHER if not by_caption else "") if is_drawn else by_caption


def corpus_votes(folder: Path, workers: int) -> CorpusVotes:
    """Of all rows of a corpus folder, its shards read by so many processes (0: by this one)."""
    shards = shards_of(folder)
    if workers < 2 or len(shards) < 2:
        return _joined([shard_votes(path) for path in shards])
    with worker_pool(min(workers, len(shards))) as pool:
        return _joined(list(pool.map(shard_votes, shards)))


def shard_votes(path: Path) -> CorpusVotes:
    votes: dict[Vote | None, int] = {None: 0}
    place, known, group = [np.empty((0, len(CORPUS_KINDS)), np.int16)], [np.empty(0, np.int8)], [np.empty(0, np.uint64)]
    name = {modality: number for number, modality in enumerate(NAMES)}
    for batch in shard_batches(path, COLUMNS):
        rows = batch.to_pylist()
        found = [votes_of(row) for row in rows]
        modalities = [known_modality(row["caption"], of_row) for row, of_row in zip(rows, found, strict=True)]
        place.append(
            np.array(
                [[votes.setdefault(of_row[kind], len(votes)) for kind in CORPUS_KINDS] for of_row in found], np.int16
            )
        )
        known.append(np.array([name[modality] for modality in modalities], np.int8))
        group.append(np.array([row["caption_group"] for row in rows], np.uint64))
    return CorpusVotes(list(votes), np.concatenate(place), np.concatenate(known), np.concatenate(group))


def _joined(parts: list[CorpusVotes]) -> CorpusVotes:
    votes: dict[Vote | None, int] = {None: 0}
    places = []
    for part in parts:
        new = np.array([votes.setdefault(vote, len(votes)) for vote in part.votes], np.int16)
        places.append(new[part.place_NK])
    return CorpusVotes(
        list(votes),
        np.concatenate(places),
        np.concatenate([part.known_N for part in parts]),
        np.concatenate([part.group_N for part in parts]),
    )
