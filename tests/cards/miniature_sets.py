"""Miniatures: a tiny data set in the layout of any card, written from the card alone, and what it must read as."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from miniature_plans import Hashing, Planned, picture_of, planned, save_picture, wanted_splits
from miniature_rows import Rows
from reader_cards import write_table

from mmkd.cards.card import Card
from mmkd.cards.layouts import FoldersLayout, H5Layout, NpzLayout, SlidesLayout, TableLayout
from mmkd.cards.samples import Split
from mmkd.images.slide_tiles import Tiles

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
    maker = Rows(made.card, layout)
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
        if layout.include:  # a row of something else, with nothing that could be read
            its.append({**dict.fromkeys(its[0], None), **dict.fromkeys(layout.include, "something else")})
        write_table(path, its)
