"""Miniatures: a tiny data set in the layout of any card, written from the card alone, and what it must read as."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image
from reader_cards import write_table
from slide_world import stained, write_tiled_tiff

from mmkd.evaluation.card import Card, Tiles
from mmkd.evaluation.layouts import FoldersLayout, H5Layout, HashedSplit, NpzLayout, SlidesLayout, TableLayout
from mmkd.evaluation.readers.cells import BRACES
from mmkd.evaluation.readers.splits import hashed_split
from mmkd.evaluation.samples import SPLITS, Split

PER_CLASS = 2  # samples of each class and split; they share a group where the card knows groups

# how the publisher names files of which a card takes the group by a pattern: a path, and the group in it
FILE_NAMES = {
    "kermany_cxr": ("BACTERIA-{n:07d}-{k:04d}", "{n:07d}"),
    "oct2017": ("CNV-{n:07d}-{k}", "{n:07d}"),
    "knee_oa": ("{n:07d}{k}", "{n:07d}"),
    "breakhis": ("SOB_B_A_14-{n}AB/40X/SOB_B_A-14-{n}AB-40-{k:03d}", "{n}AB"),
    "bracs_roi": ("BRACS_{n}_N_{k}", "BRACS_{n}"),
    "tcga_crc_msi": ("blk-AAAA{k}-TCGA-AA-{n:04d}-01Z-00-DX1", "TCGA-AA-{n:04d}"),
    "kvasir_capsule": ("{n:016x}_{k}", "{n:016x}"),
}


@dataclass(frozen=True)
class Planned:
    """A sample to be written. number: of its own; group: the number of its group."""

    number: int
    group: int
    split: Split
    labels: tuple[int, ...]


@dataclass
class Miniature:
    """card: as given, or with what a slide made for tests needs. expected: (split, labels, group) -> samples."""

    card: Card
    expected: Counter[tuple[Split, tuple[int, ...], str]] = field(default_factory=Counter)


def write_miniature(card: Card) -> Miniature:
    """Write the data where the card looks for them."""
    layout = card.layout
    if isinstance(layout, SlidesLayout):  # test slides have no header that says how large a pixel is
        card = card.model_copy(update={"tiles": Tiles(slide_mpp=card.tiles.mpp, most=2)})
    made = Miniature(card)
    if isinstance(layout, FoldersLayout):
        _write_folders(made, layout)
    elif isinstance(layout, NpzLayout):
        _write_npz(made, layout)
    elif isinstance(layout, H5Layout):
        _write_h5(made, layout)
    elif isinstance(layout, TableLayout | SlidesLayout):
        _write_tables(made, layout)
    return made


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


def planned(card: Card, split_of: Mapping[int, Split] | None = None) -> Iterator[Planned]:
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


def _write_folders(made: Miniature, layout: FoldersLayout) -> None:
    card, hashing = made.card, Hashing(layout.hashed)
    pattern, group_pattern = FILE_NAMES[card.id] if layout.group_pattern else ("{n}_{k}", "")
    known: dict[int, int] = {}
    for one in planned(card):
        marker = card.classes[one.labels[0]].marker
        path = f"{pattern}.png"
        if group_pattern:
            if one.group not in known:
                known[one.group] = hashing.number(one.split, group_pattern.replace("{n", "{0"))
            n, group = known[one.group], group_pattern.format(n=known[one.group])
        else:
            n, group = hashing.number(one.split, f"{marker}/{{0}}_{one.number}.png"), ""
        top = layout.path / layout.splits.get(one.split, ".") / marker
        save_picture(top / path.format(n=n, k=one.number), one.number)
        made.expected[one.split, one.labels, group] += 1
        for glob in layout.skip:
            save_picture(top / f"{glob.replace('*', str(n))}.png", one.number)


def _arrays(card: Card, split: Split) -> tuple[Any, Any, list[Planned]]:
    """Pictures (N, 4, 4, 3), labels (N, 1) or flags (N, C)."""
    ours = [one for one in planned(card) if one.split == split]
    picture_N443 = np.stack([np.asarray(picture_of(one.number)) for one in ours])
    flag_NC = np.array([[label in one.labels for label in range(len(card.classes))] for one in ours], np.uint8)
    label_N1 = flag_NC if card.multi_label else flag_NC.argmax(axis=1)[:, None]
    return picture_N443, label_N1, ours


def _expect(made: Miniature, ours: Sequence[Planned]) -> None:
    made.expected.update((one.split, one.labels, "") for one in ours)


def _write_npz(made: Miniature, layout: NpzLayout) -> None:
    arrays = {}
    for split in wanted_splits(made.card):
        arrays[f"{split}_images"], arrays[f"{split}_labels"], ours = _arrays(made.card, split)
        _expect(made, ours)
    layout.path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(layout.path, **arrays)


def _write_h5(made: Miniature, layout: H5Layout) -> None:
    for split in wanted_splits(made.card):
        picture_N443, label_N1, ours = _arrays(made.card, split)
        layout.pictures[split].parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(layout.pictures[split], "w") as file:
            file[layout.images] = picture_N443
        with h5py.File(layout.truths[split], "w") as file:
            file[layout.labels] = label_N1[:, :, None, None]
        _expect(made, ours)


def _write_tables(made: Miniature, layout: TableLayout | SlidesLayout) -> None:
    maker = _Rows(made.card, layout)
    rows: dict[Path, list[dict[str, Any]]] = {}
    splits = getattr(layout, "splits", {})
    for one in planned(made.card):
        path = splits.get(one.split) or layout.path
        assert path is not None
        row, group = maker.row(one, path)
        rows.setdefault(path, []).append(row)
        made.expected[one.split, one.labels, group] += 1
    for path, its in rows.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if layout.only:  # a row of something else, with nothing that could be read
            its.append({**dict.fromkeys(its[0], None), **dict.fromkeys(layout.only, "something else")})
        write_table(path, its)


class _Rows:
    """Makes the rows of a card's tables, and the pictures and slides that they name."""

    def __init__(self, card: Card, layout: TableLayout | SlidesLayout) -> None:
        self._card, self._layout, self._hashing = card, layout, Hashing(layout.hashed)
        self._group_numbers: dict[int, int] = {}
        self._has_group = "group" in layout.columns or "group (" in card.preparation
        self._has_split = not layout.hashed and not getattr(layout, "splits", {})
        self._has_split &= "split" in layout.columns or "split" in card.preparation

    def row(self, one: Planned, table: Path) -> tuple[dict[str, Any], str]:
        """The row, and the group that it must be read with."""
        columns = self._layout.columns
        row: dict[str, Any] = {column: values[0] for column, values in self._layout.only.items()}
        for name, value in self._fields(one).items():
            column = columns.get(name, name)
            if not BRACES.search(column):
                row.setdefault(column, value)
        row |= self._labels(one)
        row |= {column: f"{column.lower()} {one.number % 2}" for column in self._card.subgroups if column not in row}
        row |= {column: one.number + 1 for names in self._card.covariates.values() for column in names}
        self._pictures(row, one, table)
        group = row.get(columns.get("group", "group"), "")
        return row, str(group)

    def _fields(self, one: Planned) -> dict[Any, Any]:
        card, layout = self._card, self._layout
        named = {"id", "image"} & set(layout.columns)
        group = self._group(one) if self._has_group else ""
        number = one.number if group else self._hashing.number(one.split, "{0}.png")
        found: dict[Any, Any] = dict.fromkeys(sorted(named, reverse=True), f"{number}.png")
        found |= {"group": group} if group else {}
        found |= {"split": (layout.split_values or {one.split: [one.split]})[one.split][0]} if self._has_split else {}
        if isinstance(layout, TableLayout) and not card.covariates:
            found.setdefault("image", f"{number}.png")
        if "retrieval" in card.tasks:
            found["caption"] = f"caption {one.number}"
        if "vqa" in card.tasks:
            closed = one.number % 2 == 0
            found |= {"question": f"question {one.number}?", "answer": "yes" if closed else "left lung"}
            if "answer_type" in card.preparation or table_suffix(layout) == ".json":
                found["answer_type"] = layout.closed[0] if closed else "OPEN"
        if "survival" in card.tasks:
            alive = layout.censored
            found |= {"time": one.number + 0.5, "event": alive if one.number % 2 else str(1 - int(alive))}
        return found

    def _group(self, one: Planned) -> str:
        if one.group not in self._group_numbers:
            self._group_numbers[one.group] = self._hashing.number(one.split, "patient {0}")
        return f"patient {self._group_numbers[one.group]}"

    def _labels(self, one: Planned) -> dict[str, Any]:
        card, layout = self._card, self._layout
        markers = [entry.marker for entry in card.classes]
        if layout.one_hot:
            return {marker: int(label in one.labels) for label, marker in enumerate(markers)}
        if not markers:
            return {}
        column = layout.columns.get("label", "label")
        nothing = layout.unlabelled[0] if layout.unlabelled else ""
        return {column: layout.separator.join(markers[label] for label in one.labels) or nothing}

    def _pictures(self, row: dict[str, Any], one: Planned, table: Path) -> None:
        """Fill the columns of templates, write what they name; pictures go into Parquet tables themselves."""
        layout = self._layout
        folder = layout.images or table.parent
        templates = [template for template in layout.columns.values() if BRACES.search(template)]
        templates += [layout.slide] if isinstance(layout, SlidesLayout) else []
        for template in templates:
            for column, _ in BRACES.findall(template):
                row.setdefault(column, str(one.number))
        filled = {template: BRACES.sub(lambda found: str(row[found[1]]), template) for template in templates}
        if isinstance(layout, SlidesLayout):
            path = folder / filled[layout.slide]
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tiled_tiff(path, stained(512, 512, [(0, 0, 448, 448)]))
        elif table.suffix == ".parquet":
            row["image"] = {"bytes": png_of(one.number)}
        elif not self._card.covariates:
            column = layout.columns.get("image", "image")
            save_picture(folder / str(filled.get(column) or row[column]), one.number)


def table_suffix(layout: TableLayout | SlidesLayout) -> str:
    path = layout.path or next(iter(getattr(layout, "splits", {}).values()))
    return str(path.suffix)


def png_of(number: int) -> bytes:
    from mmkd.evaluation.samples import png

    return png(picture_of(number))


def shown(expected: Counter[Any]) -> str:
    """For messages of failed tests."""
    return json.dumps([[str(key), number] for key, number in sorted(expected.items(), key=str)])
