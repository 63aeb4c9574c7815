"""From when on two pictures count as the same: all thresholds of the near-duplicate searches.

Candidates are pairs of 64-bit hashes that differ in at most `radius` bits; a pair is confirmed by the correlation of
thumbnails (16 x 16 grey levels) or by the cosine of features. What each lets through and misses: bench/leakage.py.
"""

from typing import NamedTuple


class Threshold(NamedTuple):
    """radius: bits of the hash that may differ. correlation: the least that confirms a pair."""

    radius: int
    correlation: float


DUPLICATES = Threshold(4, 0.98)
"""Of two records of a corpus; `[curate.duplicates]`."""
DECONTAMINATION = Threshold(8, 0.96)
"""Of a record and a view of an evaluation image; `[curate] decontaminate_*`."""
LEAKAGE = Threshold(6, 0.95)
"""Of an evaluation image's view and a training image; the correlation counts where too few controls calibrate it."""
FEATURE_RADIUS = 9
"""Signs of 64 random projections that may differ. Of two vectors with cosine c, each differs with probability
arccos(c) / pi, so at c = 0.98 four do on average and more than nine in one pair of a hundred."""
