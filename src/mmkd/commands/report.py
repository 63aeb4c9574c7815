"""`mmkd report`: one page from a run's folder, or from the folder of a recipe's run."""

from pathlib import Path
from typing import Annotated

import typer

from mmkd.commands.options import DryRun, Force, Out, Set, open_run
from mmkd.errors import ConfigError


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder (runs/demo), or a recipe.")],
    out: Out = None,
    changes: Set = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """The stage of a recipe, or the report of a run's folder."""
    from mmkd.report.run_folder import PAGE, REPORT, report_run

    if not run.is_dir():
        from mmkd.pipeline.work import work_one

        work = open_run(run, out, changes, force)
        work_one(work, "report", dry_run)
        if not dry_run:
            print(f"report:  {work.out / REPORT / PAGE}")
        return
    if dry_run:
        raise ConfigError("--dry-run belongs to a recipe; the page of a folder is always made anew")
    print(f"report:  {report_run(run.resolve(), force=True)}")  # a page made anew loses nothing
