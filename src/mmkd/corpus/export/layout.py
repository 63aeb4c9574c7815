"""What every exported layout shares: which rows go into which shard, safe names, and files that appear whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkd.corpus.schema import COLUMNS, SPLITS, Corpus
from mmkd.errors import ConfigError, DataError

PAIRS_PER_SHARD = 1000
READ_ROWS = 64  # with their images in memory at a time
METADATA = tuple(name for name in COLUMNS if name != "image")
SIGNATURES = {"jpg": (b"\xff\xd8\xff",), "png": (b"\x89PNG\r\n\x1a\n",), "webp": (b"RIFF",)}


@dataclass(frozen=True)
class Piece:
    """The rows of a corpus that go into one shard. number: counted from 0 within its split, which has `of` shards."""

    split: str
    number: int
    of: int
    rows: np.ndarray

    def key(self, place: int) -> str:
        """Of the pair at this place of the shard: nine digits, sorted as the rows are. No id gets into a file name."""
        return f"{self.number:05d}{place:04d}"


def pieces(corpus: Corpus, split: str | None, pairs_per_shard: int = PAIRS_PER_SHARD) -> list[Piece]:
    """The shards of one split or of all, one split after the other, rows in the order of the corpus.

    Raises ConfigError for an unknown split or a number of pairs that keys have no room for, DataError when a split that
    is asked for is empty.
    """
    if split is not None and split not in SPLITS:
        raise ConfigError(f"no split {split!r}; a corpus has {', '.join(SPLITS)}")
    if not 1 <= pairs_per_shard <= 10_000:
        raise ConfigError(f"{pairs_per_shard:,} pairs a shard; between 1 and 10,000 can be written")
    split_N = np.array(corpus.column("split"))
    found = []
    for name in (split,) if split else SPLITS:
        rows = corpus.rows(name) if split else np.flatnonzero(split_N == name)
        cuts = list(range(0, len(rows), pairs_per_shard))
        found += [Piece(name, n, len(cuts), rows[cut : cut + pairs_per_shard]) for n, cut in enumerate(cuts)]
    return found


def pairs_of(corpus: Corpus, piece: Piece) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Key, encoded image and metadata (METADATA) of every pair of a shard; a few images are in memory at a time."""
    place = 0
    for first in range(0, len(piece.rows), READ_ROWS):
        table = corpus.take(piece.rows[first : first + READ_ROWS])
        images = table.column("image").combine_chunks().field("bytes").to_pylist()
        for image, row in zip(images, table.select(METADATA).to_pylist(), strict=True):
            yield piece.key(place), image, row
            place += 1


def image_suffix(data: bytes, identity: str) -> str:
    """jpg, png or webp, by the first bytes. Raises DataError for another format; identity: for its message."""
    for suffix, starts in SIGNATURES.items():
        if data.startswith(starts):
            return suffix
    raise DataError(
        f"{identity}: its image begins {data[:8]!r}, which is no JPEG, PNG or WebP; curate the corpus again"
    )


def shard_counts(found: Sequence[Piece]) -> dict[str, int]:
    """Pairs of every split, and shards."""
    counts = {split: sum(len(piece.rows) for piece in found if piece.split == split) for split in SPLITS}
    return {**{split: count for split, count in counts.items() if count}, "shards": len(found)}
