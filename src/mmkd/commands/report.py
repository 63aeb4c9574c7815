"""`mmkd report`: one page from a run's folder, or from the folder of a recipe's run."""

from pathlib import Path
from typing import Annotated

import typer

from mmkd.commands.options import Force, Out, Set, open_run


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder (runs/demo), or a recipe.")],
    out: Out = None,
    changes: Set = None,
    force: Force = False,
) -> None:
    """The stage of a recipe, or the report of a run's folder."""
    from mmkd.report.run_folder import report_run

    if not run.is_dir():
        from mmkd.pipeline.work import require

        work = open_run(run, out, changes, force)
        require(work, "report")
        print(f"report:  {report_run(work.out, force)}")
        return
    print(f"report:  {report_run(run.resolve(), force=True)}")  # a page made anew loses nothing
