"""`mmkd features check`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.commands.options import Json

if TYPE_CHECKING:
    from mmkd.features.check import FeatureCheck

app = typer.Typer(help="Check extracted features.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Check extracted features."""


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: corpus/ and features/ are in it.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[TEACHER...]", help="Only these teachers.")] = None,
    corpus: Annotated[Path | None, typer.Option("--corpus", help="The corpus, where it is elsewhere.")] = None,
    as_json: Json = False,
) -> None:
    """Check stored features against their corpus: row order, ids, norms, nulls with reasons, digests."""
    from mmkd.features.check import check_features

    found = check_features(folder / "features", corpus or folder / "corpus", names)
    if as_json:
        print(json.dumps([vars(one) for one in found], indent=1))
    else:
        _print_checks(found)
    if any(one.problems for one in found):
        raise typer.Exit(2)


def _print_checks(found: list["FeatureCheck"]) -> None:
    from rich.table import Table

    from mmkd.progress import console

    table = Table("teacher", "dimension", "rows", "null", "state")
    for one in found:
        why = [f"{count:,} x {reason}" for reason, count in one.reasons.items()]
        state = "; ".join(one.problems or why) or "good"
        table.add_row(one.teacher, str(one.dim), f"{one.rows:,}", f"{one.null:,}", state)
    console(6).print(table)
