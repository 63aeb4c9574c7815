"""The catalogue as a table: on a terminal, and in the document `docs/reference/data-sets.md`."""

from collections.abc import Sequence

from mmkd.cards.card import Card
from mmkd.evaluation.data_sets.inspect import UNVERIFIED, marked, size
from mmkd.progress import console

HEAD = ("data set", "modality", "tasks", "classes", "train/val/test or all", "licence", "access")
BEGIN, END = "<!-- mmkd datasets list --markdown -->", "<!-- end -->"


def print_cards(cards: Sequence[Card]) -> None:
    """What each card says, a line each."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in HEAD:
        table.add_column(name, overflow="fold", justify="right" if name == "classes" else "left")
    for card in cards:
        table.add_row(*cells(card))
    console(len(HEAD)).print(table)
    sets = f"{len(cards)} data sets of {len({card.modality for card in cards})} modalities"
    print(f"{sets}; {UNVERIFIED} = not confirmed by a source at hand")


def markdown(cards: Sequence[Card]) -> str:
    """The table of the document, between its marks."""
    rows = [HEAD, ("---",) * len(HEAD), *(cells(card) for card in cards)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([BEGIN, *lines, END])


def cells(card: Card) -> tuple[str, ...]:
    """The card's line below `HEAD`."""
    doubt = UNVERIFIED if "classes" in card.unverified else ""
    return (
        card.id,
        card.modality,
        ", ".join(card.tasks),
        f"{len(card.classes)}{doubt}" if card.classes else "",
        size(card),
        marked(card, "licence"),
        marked(card, "access"),
    )
