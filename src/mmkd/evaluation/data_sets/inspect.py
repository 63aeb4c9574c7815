"""What the data-set cards say, and whether the data are there."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkd.cards.card import Card
from mmkd.cards.catalogue import catalogue_cards, named
from mmkd.cards.readers.read import read_samples
from mmkd.cards.samples import SPLITS
from mmkd.errors import DataError
from mmkd.evaluation.data_sets.choose import load_cards
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.progress import console

THERE, DIFFERS, MISSING, WRONG = "there", "differs", "missing", "wrong"
UNVERIFIED = "?"  # behind whatever the card calls unverified


def listed(card: Card) -> dict[str, Any]:
    """The facts of a card as a row."""
    return {
        "id": card.id,
        "modality": card.modality,
        "organ": card.organ,
        "tasks": card.tasks,
        "classes": len(card.classes),
        "counts": dict(card.counts),
        "samples": card.samples or sum(card.counts.values()) or None,
        "licence": card.licence,
        "access": card.access,
        "source": card.source,
        "citation": card.citation,
        "overlaps": card.overlaps,
        "seen_by": card.seen_by,
        "warning": card.warning,
        "unverified": card.unverified,
    }


def size(card: Card) -> str:
    """`10,015/193/1,512` (train, val, test), or the number of all; `?` where that is not confirmed."""
    if card.counts:
        text = "/".join(f"{card.counts.get(split, 0):,}" for split in SPLITS)
    else:
        text = f"{card.samples:,}" if card.samples else ""
    return text + (UNVERIFIED if {"counts", "samples"} & set(card.unverified) else "")


def marked(card: Card, key: str) -> str:
    """The card's text for the key; `?` where that is not confirmed."""
    return f"{getattr(card, key)}{UNVERIFIED if key in card.unverified else ''}"


def describe(settings: EvaluateSettings) -> list[dict[str, Any]]:
    """One row for each card of a recipe, its own and those of the catalogue, as `check_data` makes them."""
    own = load_cards(settings.cards, settings.variables)
    rows = [check_data(card) for card in own]
    return rows + (check_catalogue_data(settings.datasets, settings.data_root) if settings.data_root else [])


def check_catalogue_data(names: Sequence[str], data_root: Path) -> list[dict[str, Any]]:
    """One row for each set of the catalogue that the names stand for. Raises ConfigError for unknown names."""
    cards = catalogue_cards(data_root)
    return [check_data(cards[id_], data_root / id_) for id_ in named(names, cards)]


def check_data(card: Card, folder: Path | None = None) -> dict[str, Any]:
    """What is on disk. folder: has everything of a catalogue's set.

    `state`: there; differs (not as many as the card says, which it calls unverified); missing; wrong. With the last two
    `error` says what, and `where` how to get the data. `samples`, `groups`, `splits`: counted.
    """
    row = {key: listed(card)[key] for key in ("id", "modality", "tasks", "classes", "licence")}
    try:
        if folder is not None and not folder.is_dir():
            return row | {"state": MISSING, "error": f"no folder {folder}", "where": _where(card)}
        samples = read_samples(card)
    except DataError as error:
        return row | {"state": WRONG, "error": str(error), "where": _where(card)}
    splits = Counter(sample.split for sample in samples)
    row |= {
        "samples": len(samples),
        "groups": len({sample.group or sample.id for sample in samples}),
        "splits": {split: splits[split] for split in SPLITS if splits[split]},
    }
    unlike = _unlike(card, row["splits"], len(samples))
    if not unlike:
        return row | {"state": THERE}
    if {"counts", "samples", "layout"} & set(card.unverified):
        return row | {"state": DIFFERS, "note": unlike}
    return row | {"state": WRONG, "error": unlike, "where": _where(card)}


def _unlike(card: Card, found: Mapping[str, int], samples: int) -> str:
    """Where the numbers are not the card's, or ""."""
    wrong = [
        f"{split} has {found.get(split, 0):,} samples, the card says {count:,}"
        for split, count in card.counts.items()
        if found.get(split, 0) != count
    ]
    if card.samples and samples != card.samples:
        wrong.append(f"{samples:,} samples, the card says {card.samples:,}")
    return "; ".join(wrong)


def _where(card: Card) -> str:
    parts = [card.source, f"access: {card.access}", f"licence: {marked(card, 'licence')}", card.preparation]
    return "; ".join(part for part in parts if part)


def is_at_fault(row: Mapping[str, Any], is_named: bool) -> bool:
    """Whether a row of `check_data` should fail a command: what is wrong, and what is missing though it was named."""
    return row["state"] == WRONG or (is_named and row["state"] == MISSING)


def print_datasets(rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows of `check_data` as a table, and below it where the missing are to be had."""
    from rich.table import Table

    table = Table(highlight=False)
    head = ("data set", "modality", "tasks", "classes", "samples", "groups", "splits", "licence", "state")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        counts = [str(row.get(name, "")) for name in ("classes", "samples", "groups")]
        splits = " ".join(f"{split} {count:,}" for split, count in row.get("splits", {}).items())
        state = ": ".join(part for part in (row["state"], row.get("error", row.get("note", ""))) if part)
        table.add_row(row["id"], row["modality"], ", ".join(row["tasks"]), *counts, splits, row["licence"], state)
    console(len(head)).print(table)
    for row in rows:
        if "where" in row:
            print(f"{row['id']}: {row['where']}")
