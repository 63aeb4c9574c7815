"""From a card to its checked samples. A new layout: its keys in `cards.layouts`, a reader here."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmkd.cards.card import Card
from mmkd.cards.layouts import RowKeys
from mmkd.cards.readers.arrays import read_h5, read_npz
from mmkd.cards.readers.corpus import read_corpus
from mmkd.cards.readers.folders import read_folders
from mmkd.cards.readers.slides import read_slides
from mmkd.cards.readers.table import read_table
from mmkd.cards.samples import Sample
from mmkd.errors import DataError

READERS: dict[str, Callable[[Card, Any], Iterator[Sample]]] = {
    "folders": read_folders,
    "table": read_table,
    "npz": read_npz,
    "h5": read_h5,
    "corpus": read_corpus,
    "slides": read_slides,
}


def read_samples(card: Card) -> list[Sample]:
    """All samples of the card, in a fixed order.

    Raises DataError that says which folder, class, row or file is missing, empty, double or wrong.
    """
    samples = list(READERS[card.layout.reader](card, card.layout))
    if not samples:
        raise DataError(f"{card.id}: {described(card)} holds no samples{_filter(card)}")
    _check_ids(card, samples)
    _check_pictures(card, samples)
    _check_test(card, samples)
    return samples


def _check_ids(card: Card, samples: Sequence[Sample]) -> None:
    twice = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
    if twice:
        raise DataError(f"{card.id}: sample ids must be unique, {twice[0]!r} occurs more than once")


def _check_pictures(card: Card, samples: Sequence[Sample]) -> None:
    without = [sample.id for sample in samples if not sample.images]
    if without and len(without) < len(samples):
        raise DataError(
            f"{card.id}: {len(without)} of {len(samples)} samples have no picture, {without[0]!r} among them; "
            "give them one, or leave the rows out with `include`"
        )


def _check_test(card: Card, samples: Sequence[Sample]) -> None:
    tested = [sample for sample in samples if sample.split == "test"]
    if not tested:
        splits = ", ".join(sorted({sample.split for sample in samples}))
        raise DataError(f"{card.id}: {described(card)} holds no test samples; splits found: {splits}")
    labels = {label for sample in tested for label in sample.labels}
    if len(labels) == 1 and len(card.classes) > 1 and not card.multi_label:
        raise DataError(
            f"{card.id}: all {len(tested)} test samples in {described(card)} are of class "
            f"{card.classes[labels.pop()].name!r}; there is nothing to classify, check the labels and splits"
        )
    for label, entry in enumerate(card.classes):
        if label not in labels:
            raise DataError(f"{card.id}: class {entry.name!r} has no test samples in {described(card)}")


def described(card: Card) -> str:
    """Where the card says that the data lie, for messages."""
    layout = card.layout
    splits = [getattr(layout, name, {}) for name in ("splits", "pictures")]
    paths = [getattr(layout, "path", None), *(path for places in splits for path in places.values())]
    return ", ".join(str(path) for path in paths if path is not None)


def _filter(card: Card) -> str:
    include = card.layout.include if isinstance(card.layout, RowKeys) else {}
    return f" with {include}; check the values of `include`" if include else ""
