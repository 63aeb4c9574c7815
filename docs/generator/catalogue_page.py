"""The reference pages of the catalogues: evaluation data sets and public teachers."""

from mmkd.cards.catalogue import catalogue_cards
from mmkd.evaluation.data_sets.catalogue_pages import markdown
from mmkd.teachers.zoo.entry import ZooEntry, zoo

DATA_SETS = """# Catalogue of data sets

`mmkd datasets list` prints this table. `?` marks what no source at hand confirms.
[How to evaluate](../how-to/evaluate.md) says how data are laid out. No data are shipped or downloaded.
"""
TEACHERS = """# Catalogue of teachers

`mmkd teachers list` prints the teachers with the places where their weights are looked for.
[How to use teachers](../how-to/teachers.md) says how to name one in a recipe.
"""
USE = {"commercial": "yes", "noncommercial": "no", "unclear": "unclear"}


def data_set_page() -> str:
    """The table of all cards."""
    return f"{DATA_SETS}\n{markdown(list(catalogue_cards().values()))}\n"


def teacher_page() -> str:
    """A table of the teachers that can be used, and the others with the reason."""
    entries = list(zoo().values())
    rows = [_row(one) for one in entries if one.status == "usable"]
    head = "| teacher | title | modalities | dim | licence of the weights | commercial use | gated | variants |"
    others = [f"| {one.name} | {one.status} | {_cell(one.reason)} |" for one in entries if one.status != "usable"]
    return "\n".join(
        [
            *(TEACHERS, head, "|---|---|---|---:|---|---|---|---|", *rows, ""),
            *("## Not supported", "", "| teacher | status | reason |", "|---|---|---|", *others, ""),
        ]
    )


def _row(one: ZooEntry) -> str:
    facts = (
        *(one.name, one.title, ", ".join(one.modalities), str(one.dim), one.licence, USE[one.use], one.gated),
        ", ".join(one.variant_names),
    )
    return "| " + " | ".join(map(_cell, facts)) + " |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
