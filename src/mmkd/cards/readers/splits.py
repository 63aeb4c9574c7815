"""Which split a sample belongs to."""

from collections.abc import Mapping, Sequence

from mmkd.cards.layouts import HashedSplit, RowKeys
from mmkd.cards.readers.cells import Row
from mmkd.cards.samples import Split
from mmkd.corpus.schema import split_of

SPELLINGS: Mapping[Split, Sequence[str]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
TEST_SEED, VAL_SEED = 0, 1  # fixed: a data set is cut the same way on every machine and in every run


def hashed_split(hashed: HashedSplit, name: str) -> Split:
    """name: of the group, or of a sample without one.

    Adding data moves nobody, and cards that share patients cut between the same ones.
    """
    if split_of(name, hashed.test, TEST_SEED) == "val":
        return "test"
    return "val" if split_of(name, hashed.val / (1 - hashed.test), VAL_SEED) == "val" else "train"


def row_split(layout: RowKeys, row: Row, name: str) -> Split:
    """By hash where the card wants it, else as the table spells it; test where the table does not say."""
    if layout.hashed:
        return hashed_split(layout.hashed, name)
    if not row.has("split"):
        return "test"
    spelt = row.needed("split")
    spellings = layout.split_values or SPELLINGS
    for split, values in spellings.items():
        if spelt in values:
            return split
    known = ", ".join(value for values in spellings.values() for value in values)
    raise row.error(f"split {spelt!r} is unknown, expected one of {known}; see split_values")
