"""`mmkd extract`: the stage's command, which also plans it and shares it among processes."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.commands.executor_options import takes_executor
from mmkd.commands.options import Force, Out, RecipeFile, Set, open_run
from mmkd.errors import ConfigError

if TYPE_CHECKING:
    from mmkd.features.plan import ExtractionPlan
    from mmkd.pipeline.run import Run

LICENCE_HELP = "Refuse teachers whose weights forbid this use, or of which it is not known."


@takes_executor
def extract(
    recipe: RecipeFile,
    out: Out = None,
    changes: Set = None,
    force: Force = False,
    teachers: Annotated[str, typer.Option("--teachers", metavar="A,B", help="Only these teachers of the recipe.")] = "",
    licence: Annotated[
        str | None,
        typer.Option("--licence", metavar="any|commercial", help=LICENCE_HELP),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print rows, bytes, time and what would be done, and stop.")
    ] = False,
    rows: Annotated[
        int | None, typer.Option("--rows", min=1, help="With --dry-run: plan for so many pairs, without a corpus.")
    ] = None,
    tflops: Annotated[
        float | None, typer.Option("--tflops", min=0.01, help="With --dry-run: also for a machine that sustains this.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON.")] = False,
    executor: Sequence[str] = (),
) -> None:
    """The stage, of all teachers or of some, or with --dry-run its plan."""
    from mmkd.distributed import join_world
    from mmkd.pipeline.stages import extract_teachers
    from mmkd.pipeline.work import require, told_of_changes

    changed = [*executor, *(changes or []), *([f"extract.licence={licence}"] if licence else [])]
    work = open_run(recipe, out, changed, force, parallel=True)
    names = [name.strip() for name in teachers.split(",") if name.strip()]
    if dry_run:
        _plan(work, names, rows, tflops, as_json)
        return
    if rows or tflops or as_json:
        raise ConfigError("--rows, --tflops and --json belong to --dry-run")
    require(work, "extract")
    with join_world() as world, told_of_changes(work, "extract"):
        extract_teachers(work, names, world)


def _plan(work: "Run", names: list[str], rows: int | None, tflops: float | None, as_json: bool) -> None:
    from mmkd.corpus.schema import Corpus
    from mmkd.device import prepare
    from mmkd.features.plan import plan_extraction
    from mmkd.folders.stage import status
    from mmkd.pipeline.preflight import show_standings
    from mmkd.teachers.zoo.licences import refuse_licences
    from mmkd.teachers.zoo.settings import REFERENCE

    specs = [spec for spec in work.named_teachers(names) if spec.library != REFERENCE]
    refuse_licences(specs, work.recipe.extract.licence)
    corpus = Corpus(work.out / "corpus") if status(work.out / "corpus") == "complete" else None
    if rows is None:
        if corpus is None:
            raise ConfigError(
                f"no finished corpus in {work.out}, so its rows are not known; give --rows, or run 'mmkd curate'"
            )
        rows = len(corpus)
    plan = plan_extraction(specs, work.recipe.extract, rows, prepare(work.recipe.machine), corpus)
    print(json.dumps(plan.to_json(), indent=1)) if as_json else _print_plan(plan, tflops)
    if corpus and not as_json:
        show_standings(work, "extract")


def _print_plan(plan: "ExtractionPlan", tflops: float | None) -> None:
    from rich.table import Table

    from mmkd.progress import console

    def cells(gflop: float, seconds: float, size: float) -> tuple[str, ...]:
        return f"{gflop:.1f}", f"{1e3 * seconds:.1f}", f"{size:,.0f}", f"{plan.rows * size / 1e9:,.2f}"

    table = Table("teacher", "dimension", "weights", "GFLOP/pair", "ms/pair here", "bytes/pair", "GB")
    for one in plan.teachers:
        found = one.weights.split(":")[0]
        table.add_row(one.name, str(one.dim), found, *cells(one.gflop, one.seconds, one.bytes))
    gflop, seconds, size = (plan.total(name) for name in ("gflop", "seconds", "bytes"))
    table.add_section()
    table.add_row("all", "", "", *cells(gflop, seconds, size))
    console(7).print(table)
    print(f"{plan.rows:,} pairs, {size / 1e3:.1f} KB each: {plan.rows * size / 1e9:,.2f} GB")
    here = _duration(plan.rows * seconds)
    print(f"one process on {plan.device}, as measured now: {here}; images are decoded meanwhile")
    if tflops:
        print(f"a machine that sustains {tflops:g} TFLOP/s: {_duration(plan.rows * gflop / (1e3 * tflops))}")
    for one in plan.teachers:
        if one.weights != "found":
            print(one.weights)


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"
