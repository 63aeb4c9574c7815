"""`mmkd run`, and the commands of the stages that need no more than a recipe."""

from collections.abc import Callable
from typing import Annotated

import typer

from mmkd.commands.options import Force, Out, RecipeFile, Set, open_run


def run(
    recipe: RecipeFile,
    out: Out = None,
    changes: Set = None,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done and stop.")] = False,
) -> None:
    """Run every stage of a recipe, in order.

    On several GPUs or nodes: torchrun --nproc-per-node N -m mmkd run RECIPE.
    """
    from mmkd.folders.stage import status
    from mmkd.pipeline.table import STAGES
    from mmkd.pipeline.work import work_all

    work = open_run(recipe, out, changes, force, parallel=True)
    if dry_run:
        for spec in STAGES.values():
            for folder in spec.paths(work):
                print(f"{spec.name:12s} {status(folder):9s} {folder}")
        return
    work_all(work)


def stage_command(name: str, old_name: str = "") -> Callable[..., None]:
    """The command of a stage. old_name: under which it goes on for one release, with a line that gives the new one."""

    def command(recipe: RecipeFile, out: Out = None, changes: Set = None, force: Force = False) -> None:
        from mmkd.pipeline.table import STAGES
        from mmkd.pipeline.work import work_one
        from mmkd.renamed import warn

        if old_name:
            warn(f"'mmkd {old_name}' is now called 'mmkd {name}'; the next release knows the new name only")
        work_one(open_run(recipe, out, changes, force, parallel=STAGES[name].parallel), name)

    return command
