"""Which split a group of records belongs to."""

from mmkd.folders.digests import hash64


def split_of(group: str, val: float, seed: int) -> str:
    """`val` for about a share `val` (0..1) of all groups, `train` for the others.

    Decided by a hash of seed and group alone, so a group is never cut, adding records or sources moves no group, and
    a larger `val` only adds groups to it. The share is exact only in expectation: n groups deviate by about
    sqrt(val * (1 - val) / n).
    """
    return "val" if hash64(f"{seed}\0{group}") < val * 2.0**64 else "train"
