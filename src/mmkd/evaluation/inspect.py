"""What stands in a recipe's data-set cards, and whether the data are there."""

from collections.abc import Sequence
from typing import Any

from mmkd.errors import DataError
from mmkd.evaluation.card import Card
from mmkd.evaluation.cards import load_cards
from mmkd.evaluation.readers.read import read_samples
from mmkd.evaluation.settings import EvaluateSettings
from mmkd.progress import table_width


def describe(settings: EvaluateSettings) -> list[dict[str, Any]]:
    """One row a card; `samples` and `groups` counted from the data, or `error` with what is missing."""
    return [_row(card) for card in load_cards(settings.cards, settings.variables)]


def _row(card: Card) -> dict[str, Any]:
    row = {
        "id": card.id,
        "modality": card.modality,
        "tasks": card.tasks,
        "classes": len(card.classes),
        "licence": card.licence,
    }
    try:
        samples = read_samples(card)
    except DataError as error:
        return row | {"error": str(error)}
    return row | {"samples": len(samples), "groups": len({sample.group or sample.id for sample in samples})}


def print_datasets(rows: Sequence[dict[str, Any]]) -> None:
    """The rows as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("data set", "modality", "tasks", "classes", "samples", "groups", "licence", "state")
    for row in rows:
        counts = [str(row.get(name, "")) for name in ("classes", "samples", "groups")]
        table.add_row(
            row["id"], row["modality"], ", ".join(row["tasks"]), *counts, row["licence"], row.get("error", "there")
        )
    Console(width=table_width(8)).print(table)
