"""`mmkd curate`: the stage's command, which also plans it and is shared among processes."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.commands.executor_options import takes_executor
from mmkd.commands.options import Force, Out, Set, open_run
from mmkd.errors import ConfigError
from mmkd.pipeline.shipped import SHIPPED
from mmkd.settings import URL

if TYPE_CHECKING:
    from mmkd.curation.plan import SourcePlan


@takes_executor
def curate(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help=f"A TOML file, a recipe of mmkd's own ({', '.join(SHIPPED)}), or a URL of tars or tables, for which a "
            "recipe is written beside the corpus.",
        ),
    ],
    out: Out = None,
    changes: Set = None,
    force: Force = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print shards, records, bytes, time and what would be done, and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON.")] = False,
    executor: Sequence[str] = (),
) -> None:
    """The stage, or with --dry-run its plan."""
    from mmkd.pipeline.work import work_one

    file = Path(recipe)
    if URL.match(recipe):
        from mmkd.commands.from_url import recipe_of

        file = recipe_of(recipe, out)
    work = open_run(file, out, [*executor, *(changes or [])], force, parallel=True)
    if dry_run:
        from mmkd.curation.curate import check_apart
        from mmkd.curation.plan import plan_curation
        from mmkd.curation.sources.kinds import warnings_of
        from mmkd.curation.sources.names import named_sources

        check_apart(work.recipe.curate, work.out / "corpus")
        if not as_json:
            for warning in (
                one for source in named_sources(work.recipe.curate) for one in warnings_of(source, thorough=True)
            ):
                print(warning)
        plans = plan_curation(work.recipe.curate)
        workers = max(1, work.recipe.machine.processes)
        print(json.dumps([asdict(plan) for plan in plans], indent=1)) if as_json else _print(plans, workers)
        if not as_json:
            work_one(work, "curate", dry_run)
        return
    if as_json:
        raise ConfigError("--json belongs to --dry-run")
    work_one(work, "curate")


def _print(plans: "list[SourcePlan]", workers: int) -> None:
    from rich.table import Table

    from mmkd.curation.ledger.notes import notes_in_words
    from mmkd.progress import console

    table = Table("source", "shards", "records", "pass the checks", "KB/image", "GB", "ms/record", "hours")
    for plan in plans:
        each = 1e3 * (plan.read_s + plan.check_s)
        table.add_row(
            plan.name,
            f"{plan.shards:,}",
            f"{plan.records:,}",
            f"{plan.kept:.0%}",
            f"{plan.bytes_each / 1e3:.1f}",
            f"{plan.bytes_kept / 1e9:,.2f}",
            f"{each:.2f}",
            f"{plan.hours(workers):,.2f}",
        )
    console(8).print(table)
    for plan in plans:
        for line in notes_in_words(f"{plan.name}, of {plan.looked_at:,} records looked at", plan.noted):
            print(line)
        if plan.excluded:
            print(f"{plan.name}: {plan.excluded:,} more records are excluded by include or part")
        if plan.rejected:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in plan.rejected.items())
            print(
                f"{plan.name}: of {plan.looked_at:,} records looked at {sum(plan.rejected.values()):,} fail: {reasons}"
            )
            for reason, example in plan.examples.items():
                print(f"  {reason}, such as {example}")
    hours = sum(plan.hours(workers) for plan in plans)
    print(f"{hours:,.2f} hours in {workers} processes, if all shards are as the first with records; before duplicates")
