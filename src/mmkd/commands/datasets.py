"""`mmkd datasets list | check`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mmkd.commands.options import Json, Out, open_run
from mmkd.errors import ConfigError

app = typer.Typer(help="List the catalogue of evaluation data sets; say what is on disk and what is missing.")

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME...]", help="Only these: ids, modalities, tasks, or all.")
]


@app.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    """List the catalogue of evaluation data sets; say what is on disk and what is missing. Nothing is downloaded."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list")
def list_(
    names: Names = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table of docs/reference/data-sets.md.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the catalogue: modality, tasks, classes, size, licence and access; `?` marks what is not confirmed."""
    from mmkd.cards.catalogue import catalogue_cards, named
    from mmkd.evaluation.data_sets import catalogue_pages
    from mmkd.evaluation.data_sets.inspect import listed

    cards = catalogue_cards()
    chosen = [cards[id_] for id_ in named(names or ["all"], cards)]
    if as_json:
        print(json.dumps([listed(card) for card in chosen], indent=1))
    elif markdown:
        print(catalogue_pages.markdown(chosen))
    else:
        catalogue_pages.print_cards(chosen)


@app.command("check")
def check(
    names: Names = None,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", metavar="DIR", help="Has the catalogue's data, a folder per id.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="RECIPE", help="The data sets of this recipe, not the catalogue.")
    ] = None,
    out: Out = None,
    cards: Annotated[bool, typer.Option("--cards", help="Check the cards themselves; needs no data.")] = False,
    card: Annotated[
        Path | None, typer.Option("--card", metavar="FILE", help="A card of your own, with its data and pictures.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what is on disk, count it against the cards, and say where the missing is to be had.

    Nothing is downloaded. Exit code 2 when something that is named is missing, or anything found is wrong.
    """
    given = sum(map(bool, (data_root, recipe, cards, card)))
    if given != 1:
        raise ConfigError(f"give one of --data-root DIR, --recipe RECIPE, --cards and --card FILE, found {given}")
    if card:
        _check_card(card, as_json)
        return
    if cards:
        _check_cards(names, as_json)
        return
    from mmkd.evaluation.data_sets.inspect import check_catalogue_data, describe, is_at_fault, print_datasets

    if data_root is not None:
        rows = check_catalogue_data(names or ["all"], data_root.resolve())
    else:
        rows = [
            row
            for row in describe(open_run(Path(recipe or ""), out, None).recipe.evaluate)
            if not names or row["id"] in names
        ]
        if strangers := sorted(set(names or []) - {row["id"] for row in rows}):
            raise ConfigError(f"the recipe has no data set {', '.join(strangers)}")
    print(json.dumps(rows, indent=1)) if as_json else print_datasets(rows)
    if any(is_at_fault(row, bool(names) or recipe is not None) for row in rows):
        raise typer.Exit(2)


def _check_card(path: Path, as_json: bool) -> None:
    from collections import Counter

    from mmkd.evaluation.data_sets.checks import examined
    from mmkd.evaluation.data_sets.choose import load_card

    card = load_card(path)
    samples, problems = examined(card)
    splits = Counter(sample.split for sample in samples)
    found = {"id": card.id, "tasks": card.tasks, "samples": len(samples), "splits": splits, "problems": problems}
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        counted = ", ".join(f"{split} {count:,}" for split, count in splits.items())
        print(f"{card.id}: {', '.join(card.tasks)}; {len(samples):,} samples{f' ({counted})' if counted else ''}")
        print("\n".join(problems or ["no problems"]))
    if problems:
        raise typer.Exit(2)


def _check_cards(names: list[str] | None, as_json: bool) -> None:
    from mmkd.cards.catalogue import catalogue, catalogue_cards, named
    from mmkd.evaluation.data_sets.checks import check_cards
    from mmkd.teachers.zoo.entry import zoo

    found = check_cards(catalogue(), list(zoo()))
    if names:
        chosen = named(names, catalogue_cards())
        found = {name: complaints for name, complaints in found.items() if name in chosen}
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for name, complaints in found.items():
            print("\n".join(f"{name or 'catalogue'}: {complaint}" for complaint in complaints))
        print(f"{len(catalogue())} cards, {sum(map(len, found.values()))} complaints")
    if found:
        raise typer.Exit(2)
