"""The reference pages of recipe keys and of card keys."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keys import nested, section

from mmkd.cards.card import Card
from mmkd.evaluation.tasks.table import TASKS
from mmkd.pipeline.recipe import Recipe
from mmkd.renamed import RENAMED
from mmkd.settings import Settings
from mmkd.validation import parse

EXAMPLES = Path(__file__).with_name("examples")
UNFIT = "does not give"  # what a task says of a layout that cannot hold its data
LAYOUTS: list[dict[str, Any]] = [
    *({"reader": reader, "path": "data"} for reader in ("folders", "table", "npz", "corpus", "slides")),
    {"reader": "h5", "pictures": {"test": "images.h5"}, "truths": {"test": "labels.h5"}},
]
MANIFEST_INPUTS = "inputs"  # names of folders in manifests, no keys of recipes
SHARED = ("specialists", "rivals")  # their sections have the keys of others

RECIPE = """# Recipe keys

A recipe is one TOML file. `mmkd run RECIPE` reads it and checks it before any work. Unknown keys are errors.
Relative paths are relative to the recipe. `${out}` is the folder of the run, `${NAME}` an environment variable.
`--set SECTION.KEY=VALUE` changes one value on the command line.
"""
RIVALS = """
Two kinds of sections repeat the keys of others:

* `[specialists.curate]`, `[specialists.student]` and `[specialists.pretrain]` have the keys of `[curate]`, `[student]`
  and `[pretrain]`.
* `[rivals.NAME]` has the keys of `[distill]`. Name only the keys in which the rival differs from `[distill]`.
"""
CARD = """# Card keys

A card is one TOML file that describes an evaluation data set. Relative paths are relative to the card.
`${NAME}` and `${NAME:-default}` are taken from the environment and from `[evaluate] variables`.
[Add a data set](../how-to/add-a-data-set.md) is the guide. Below, each task has a complete card as an example.
"""


def recipe_page() -> str:
    """Every section of a recipe with its keys."""
    return "\n".join([RECIPE, *_sections(Recipe), RIVALS, _old_names()])


def card_page() -> str:
    """The keys of a card, of every layout, and what every task asks of a card."""
    return "\n".join([CARD, *_sections(Card), *_tasks()])


def _sections(kind: type[Settings]) -> Iterator[str]:
    """Each class once, under its first title."""
    done: set[Any] = set()
    for title, found in nested(kind, "[]"):
        if found in done or (title.strip("[]").split(".")[0] in SHARED and "." in title and _is_repeated(title)):
            continue
        done.add(found)
        yield section(found, "Top level" if title == "[]" else title)
        if source := re.match(r'\[\[curate\.sources\]\] kind = "(\w+)"', title):
            yield _example("sources", source[1])


def _is_repeated(title: str) -> bool:
    return title.split(".")[0].strip("[") in SHARED


def _tasks() -> Iterator[str]:
    """What each task asks of a card, found by asking it about cards of every layout."""
    yield "## Tasks\n\n`tasks` of a card names one task or several.\n"
    yield "| task | title | layouts | a card needs | settings | primary metric | protocol |"
    yield "|---|---|---|---|---|---|---|"
    asked = {name: task for name, task in TASKS.items() if not task.derived_from}
    for name, task in asked.items():
        complaints = {str(layout["reader"]): task.complaint(_bare_card(name, layout)) for layout in LAYOUTS}
        fitting = {reader: text for reader, text in complaints.items() if UNFIT not in text}
        needs = next(
            (text.removeprefix("needs ").split(", found")[0] for text in fitting.values() if text), ""
        ).replace("[[classes]]", "`[[classes]]`")
        layouts = ", ".join(f"`{reader}`" for reader in fitting)
        settings = f"`[evaluate.{task.section}]`" if task.section else ""
        protocol = task.protocol.replace("|", "\\|")
        yield f"| `{name}` | {task.title} | {layouts} | {needs} | {settings} | {task.primary} | {protocol} |"
    yield ""
    for name, task in asked.items():
        yield f"### Example: {task.title}\n\n{_example('cards', name)}"


def _example(folder: str, name: str) -> str:
    return f"```toml\n{(EXAMPLES / folder / name).with_suffix('.toml').read_text()}```\n"


def _bare_card(task: str, layout: Mapping[str, Any]) -> Card:
    return parse(Card, {"id": "bare", "modality": "ct", "tasks": [task], "licence": "none", "layout": layout}, "bare")


def _old_names() -> str:
    names = sorted((table, old, new) for (table, old), new in RENAMED.items() if table != MANIFEST_INPUTS)
    rows = [f"| `{f'[{table}] ' if table else ''}{old}` | `{new}` |" for table, old, new in names]
    head = "## Old names\n\nOld keys go on for one release. mmkd prints a line that names the new key.\n"
    return "\n".join([head, "| old | new |", "|---|---|", *rows, ""])
