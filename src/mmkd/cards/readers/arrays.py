"""Pictures and labels as arrays: MedMNIST's archives and PatchCamelyon's HDF5 files; N pictures, C classes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmkd.cards.array_files import array_in, array_names, explained
from mmkd.cards.array_images import ArrayImage
from mmkd.cards.card import Card
from mmkd.cards.layouts import H5Layout, NpzLayout
from mmkd.cards.samples import SPLITS, Sample, Split
from mmkd.errors import DataError


def read_npz(card: Card, layout: NpzLayout) -> Iterator[Sample]:
    """The splits that the archive has."""
    names = array_names(layout.path)
    for split in SPLITS:
        if f"{split}_images" in names:
            pictures, truths = (layout.path, f"{split}_images"), (layout.path, f"{split}_labels")
            yield from _samples(card, split, pictures, truths)


def read_h5(card: Card, layout: H5Layout) -> Iterator[Sample]:
    """The splits that the card names."""
    for split, path in layout.pictures.items():
        yield from _samples(card, split, (path, layout.images), (layout.truths[split], layout.labels))


def _samples(card: Card, split: Split, pictures: tuple[Path, str], truths: tuple[Path, str]) -> Iterator[Sample]:
    """pictures, truths: each a file and the array in it."""
    shape, dtype = array_in(*pictures).shape, array_in(*pictures).dtype
    if dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
        raise DataError(
            f"{card.id}: {pictures[1]} of {pictures[0]} is {dtype} {shape}, expected uint8 (N, H, W) or (N, H, W, 3)"
        )
    where = f"{card.id}: {truths[1]} of {truths[0]}"
    with explained(truths[0]):
        value_N = np.array(array_in(*truths))
    if len(value_N) != shape[0]:
        raise DataError(f"{where} has {len(value_N)} rows, but there are {shape[0]} pictures")
    for row, labels in enumerate(_labels(card, value_N.reshape(len(value_N), -1), where)):
        yield Sample(f"{split}/{row}", (ArrayImage(*pictures, row),), split, labels=labels)


def _labels(card: Card, value_NC: Any, where: str) -> list[tuple[int, ...]]:
    """Class numbers (N, 1), or flags (N, C) of a multi-label card."""
    classes = len(card.classes)
    if not classes:
        return [()] * len(value_NC)
    columns, highest = (classes, 1) if card.multi_label else (1, classes - 1)
    if value_NC.shape[1] != columns:
        kind = "multi-label" if card.multi_label else "one of several classes"
        raise DataError(f"{where} has {value_NC.shape[1]} columns, expected {columns} ({kind}, {classes} on the card)")
    wrong = np.argwhere(~np.isin(value_NC, np.arange(highest + 1)))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(f"{where}: row {row} has {value_NC[row, column]}, expected a whole number from 0 to {highest}")
    if card.multi_label:
        return [tuple(map(int, np.flatnonzero(flag_C))) for flag_C in value_NC]
    return [(int(value),) for value in value_NC[:, 0]]
