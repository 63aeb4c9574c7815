"""What a miniature holds: which samples, in which splits, under names that the hash of the card puts there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from PIL import Image

from mmkd.cards.card import Card
from mmkd.cards.layouts import HashedSplit
from mmkd.cards.readers.splits import hashed_split
from mmkd.cards.samples import SPLITS, Split

PER_CLASS = 2  # samples of each class and split; they share a group where the card knows groups


@dataclass(frozen=True)
class Planned:
    """A sample to be written. number: of its own; group: the number of its group."""

    number: int
    group: int
    split: Split
    labels: tuple[int, ...]


def wanted_splits(card: Card) -> Sequence[Split]:
    """Those that the layout makes or the card counts; a linear probe needs something to learn from."""
    layout = card.layout
    hashed: HashedSplit | None = getattr(layout, "hashed", None)
    if hashed:
        return ("train", "val", "test") if hashed.val else ("train", "test")
    given = getattr(layout, "splits", None) or getattr(layout, "pictures", None) or card.counts
    if given:
        return [split for split in SPLITS if split in given]
    return ("train", "test") if "linear_probe" in card.tasks else ("test",)


def planned(card: Card) -> Iterator[Planned]:
    """Samples of every class in every split, and where there may be several classes or none, some with these."""
    numbers, groups = count(), count(1)
    labels: list[tuple[int, ...]] = [(label,) for label in range(len(card.classes))] or [()]
    if card.multi_label:
        labels += [(), (0, len(card.classes) - 1)]
    for split in wanted_splits(card):
        for one in labels:
            group = next(groups)
            for _ in range(PER_CLASS):
                yield Planned(next(numbers), group, split, one)


def picture_of(number: int) -> Image.Image:
    """A picture that no other number has."""
    return Image.new("RGB", (4, 4), (number % 256, number // 256, 7))


def save_picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture_of(number).save(path, "PNG")  # whatever the name says: readers look at the bytes


class Hashing:
    """Finds names that the hash puts into the split that is wanted."""

    def __init__(self, hashed: HashedSplit | None) -> None:
        self._hashed, self._taken = hashed, count(1)

    def number(self, split: Split, name: str) -> int:
        """The next n for which `name.format(n)` belongs to the split."""
        return next(n for n in self._taken if not self._hashed or hashed_split(self._hashed, name.format(n)) == split)
