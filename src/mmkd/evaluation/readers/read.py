"""From a card to its checked samples. A new layout: its keys in `evaluation.layouts`, a reader here."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from mmkd.errors import DataError
from mmkd.evaluation.card import Card
from mmkd.evaluation.layouts import TableLayout
from mmkd.evaluation.readers.corpus import read_corpus
from mmkd.evaluation.readers.folders import read_folders
from mmkd.evaluation.readers.table import read_table
from mmkd.evaluation.samples import Sample

READERS: dict[str, Callable[[Card, Any], Iterator[Sample]]] = {
    "folders": read_folders,
    "table": read_table,
    "corpus": read_corpus,
}


def read_samples(card: Card) -> list[Sample]:
    """All samples of the card, in a fixed order.

    Raises DataError that says which folder, class, row or file is missing, empty, double or wrong.
    """
    samples = list(READERS[card.layout.reader](card, card.layout))
    if not samples:
        raise DataError(f"{card.id}: {described(card)} holds no samples{_filter(card)}")
    twice = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
    if twice:
        raise DataError(f"{card.id}: sample ids must be unique, {twice[0]!r} occurs more than once")
    labels = {label for sample in samples if sample.split == "test" for label in sample.labels}
    for label, entry in enumerate(card.classes):
        if label not in labels:
            raise DataError(f"{card.id}: class {entry.name!r} has no test samples in {described(card)}")
    return samples


def described(card: Card) -> str:
    """Where the card says that the data lie, for messages."""
    layout = card.layout
    paths = [
        getattr(layout, "path", None),
        *getattr(layout, "splits", {}).values(),
        *getattr(layout, "pictures", {}).values(),
    ]
    return ", ".join(str(path) for path in paths if path is not None)


def _filter(card: Card) -> str:
    only = card.layout.only if isinstance(card.layout, TableLayout) else {}
    return f" with {only}; check the column names and values of `only`" if only else ""
