"""`mmkd teachers list | check | verify-reference`."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmkd.commands.options import Json, Out, open_run
from mmkd.errors import ConfigError

if TYPE_CHECKING:
    from mmkd.features.inspect import Listing
    from mmkd.features.verify import TeacherVerdict, VariantVerdict
    from mmkd.teachers.zoo.settings import TeacherSpec

HELP = "List the teachers, load and try them, compare them with the public MMKD-CLIP features."
COMMERCIAL = {"commercial": "yes", "noncommercial": "no", "unclear": "unclear"}
app = typer.Typer(help=HELP, no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Only these teachers.")]
Recipe = Annotated[
    Path | None, typer.Option("--recipe", metavar="RECIPE", help="The teachers of this recipe, not the zoo's.")
]


@app.command("list")
def list_(recipe: Recipe = None, out: Out = None, as_json: Json = False) -> None:
    """List the zoo, or a recipe's teachers: what they are, what their licences allow, where their weights are."""
    from mmkd.features.inspect import list_entries, list_specs
    from mmkd.teachers.zoo.entry import zoo

    rows = list_specs(open_run(recipe, out, None).teachers) if recipe else list_entries(zoo().values())
    print(json.dumps([row.to_json() for row in rows], indent=1)) if as_json else _print_listing(rows)


@app.command("check")
def check(
    names: Names = None,
    recipe: Recipe = None,
    out: Out = None,
    variant: Annotated[str | None, typer.Option("--variant", help="Another variant than the default.")] = None,
    weights: Annotated[Path | None, typer.Option("--weights", metavar="FOLDER", help="Where its files lie.")] = None,
    as_json: Json = False,
) -> None:
    """Load teachers and try them on two images and two captions; say what is missing where one does not load.

    Weights that are not on this machine are fetched from the hub, unless HF_HUB_OFFLINE=1.
    """
    specs = _specs(names or [], recipe, out, variant, weights)  # before anything heavy is imported
    from mmkd.device import prepare
    from mmkd.features import inspect
    from mmkd.settings import Machine

    device = prepare(Machine())
    rows = []
    for spec in specs:
        rows.append(inspect.check(spec, device))
        if not as_json:
            _print_check(rows[-1])
    if as_json:
        print(json.dumps(rows, indent=1))
    if any("error" in row for row in rows):
        raise typer.Exit(2)


@app.command("verify-reference")
def verify_reference(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The public data, with meta.jsonl in it.")],
    names: Names = None,
    weights_root: Annotated[
        Path | None,
        typer.Option("--weights-root", metavar="DIR", help="Weights lie in DIR/<name>/<variant> or DIR/<name>."),
    ] = None,
    limit: Annotated[int, typer.Option("--records", min=1, help="Compare so many records of each teacher.")] = 64,
    as_json: Json = False,
) -> None:
    """Compare the zoo's teachers with the public MMKD-CLIP features, and say which variant made these.

    Every variant whose weights are on this machine embeds the records' images and captions; nothing is downloaded. It
    fits when every cosine, of images and of captions, is at least 0.999. Exit code 0 when each teacher has a variant
    that fits.
    """
    from mmkd.device import prepare
    from mmkd.features import verify
    from mmkd.settings import Machine
    from mmkd.teachers.zoo.entry import zoo

    found = []
    for one in verify.verify_reference(folder, zoo(), names or [], prepare(Machine()), weights_root, limit):
        found.append(one)
        if not as_json:
            _print_verdict(one)
    if as_json:
        print(json.dumps([one.to_json() for one in found], indent=1))
    if not all(one.fits for one in found):
        raise typer.Exit(2)


def _specs(
    names: Sequence[str], recipe: Path | None, out: Path | None, variant: str | None, weights: Path | None
) -> "list[TeacherSpec]":
    from mmkd.teachers.zoo.entry import zoo
    from mmkd.teachers.zoo.settings import TeacherSpec
    from mmkd.validation import nearest, parse

    if not names and recipe is None:
        raise ConfigError("which teachers? Name some of the zoo ('mmkd teachers list'), or give --recipe for its own")
    for name in () if recipe else names:
        if name not in zoo():
            raise ConfigError(f"no teacher {name!r} in the zoo; {nearest(name, list(zoo()))}")
    chosen: list[dict[str, Any]] = [{"name": name} for name in names]
    if recipe:
        specs = open_run(recipe, out, None).named_teachers(names)
        chosen = [spec.model_dump(exclude_none=True, mode="json") for spec in specs]
    changed = {"variant": variant, "weights": str(weights.resolve()) if weights else None}
    changed = {key: value for key, value in changed.items() if value is not None}
    if changed and len(chosen) != 1:
        raise ConfigError(f"--{' and --'.join(changed)} belong to one teacher, but {len(chosen)} are named")
    return [parse(TeacherSpec, data | changed, "mmkd teachers check") for data in chosen]


def _print_listing(rows: "Sequence[Listing]") -> None:
    from rich import box
    from rich.table import Table

    from mmkd.progress import console
    from mmkd.teachers.files.locate import TEACHERS

    usable = [row for row in rows if row.status == "usable"]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("teacher", no_wrap=True)
    table.add_column("dim", justify="right", no_wrap=True)
    table.add_column("commercial", no_wrap=True)
    table.add_column("gated", no_wrap=True)
    table.add_column("licence of the weights", max_width=30)
    table.add_column("its weights, what it needs", overflow="fold")
    for row in usable:
        looked = [f"found: {row.found}"] if row.found else [place for place in row.places if not place.startswith("$")]
        facts = (row.name, str(row.dim or ""), COMMERCIAL[row.use], row.gated.replace("unknown", "?"), row.licence)
        table.add_row(*facts, "\n".join([*looked, *(f"needs {need}" for need in row.needs)]))
    terminal = console(6)
    terminal.print(table)
    here, base = sum(bool(row.found) for row in usable), os.environ.get(TEACHERS)
    terminal.print(f"{len(usable)} can be used; the weights of {here} are on this machine.")
    terminal.print(
        f"Looked for in ${TEACHERS}/<teacher> ({base or 'not set'}), the hub's cache, and on the hub itself."
    )
    for row in rows:
        if row.status != "usable":
            terminal.print(f"{row.status}: {row.name}: {row.reason}")


def _print_check(row: dict[str, Any]) -> None:
    print(f"{row['name']}: {'failed' if 'error' in row else 'good'}")
    shown = {
        "error": row.get("error"),
        "dimension": row.get("dim"),
        "parameters": f"{row['parameters'] / 1e6:,.1f} M" if "parameters" in row else None,
        "licence": f"{row['licence']} (commercial use: {COMMERCIAL[row['use']]})" if "use" in row else row["licence"],
        "found in": row.get("found"),
        "revision": row.get("revision"),
        "weights": f"sha256 {row['weights']}" if row.get("weights") else None,
        "patches": row.get("patches"),
        "self-test": row.get("self_test"),
    }
    for name, value in shown.items():
        if value:
            print(f"  {name:12s}{value}")


def _print_verdict(one: "TeacherVerdict") -> None:
    print(f"{one.summary} ({one.records:,} records to compare, {one.without:,} without it)")
    for variant in one.variants:
        print(f"  {variant.variant or '(its only form)':18s}{_numbers(variant)}")


def _numbers(one: "VariantVerdict") -> str:
    if one.agreement is None:
        return f"{one.verdict}: {one.message}"
    sides = [
        f"{side} cosine min {min(cosine_N):.5f} mean {sum(cosine_N) / len(cosine_N):.5f}"
        for side, cosine_N in (("image", one.agreement.image_N), ("text", one.agreement.text_N))
    ]
    return f"{one.verdict}: {', '.join(sides)}"
