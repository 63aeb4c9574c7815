"""`mmkd run`, and the commands of the stages that need no more than a recipe."""

import shlex
from collections.abc import Callable, Sequence

from mmkd.commands.executor_options import takes_executor
from mmkd.commands.options import DryRun, Force, Gpus, Out, RecipeFile, Set, of_gpus, open_run
from mmkd.pipeline.table import STAGES


@takes_executor
def run(
    recipe: RecipeFile,
    out: Out = None,
    changes: Set = None,
    force: Force = False,
    dry_run: DryRun = False,
    gpus: Gpus = None,
    executor: Sequence[str] = (),
) -> None:
    """Run every stage of a recipe, in order.

    With --gpus, both stages of training are shared among that many processes. With --executor, curation, extraction and
    evaluation are shared among workers, on machines of a cluster, too, and several trainings run at the same time. To
    have every stage on several GPUs or nodes without an executor: torchrun --nproc-per-node N -m mmkd run RECIPE.
    """
    work = open_run(recipe, out, [*executor, *of_gpus(gpus), *(changes or [])], force, parallel=True)
    if dry_run:
        from mmkd.pipeline.preflight import show_standings

        show_standings(work)
        return
    from mmkd.pipeline.work import work_all

    work_all(work)


def check(recipe: RecipeFile, out: Out = None, changes: Set = None, force: Force = False) -> None:
    """Look at all that a run still needs: sources, teachers, student, data sets, disk space; and say what it takes.

    Nothing is changed. The same is looked at when a run begins, but that text tables are then not
    read to their end for lines in another encoding. Exit code 2 with a list of all problems.
    """
    from mmkd.pipeline import preflight

    work = open_run(recipe, out, changes, force)
    found = preflight.standings(work)
    findings = preflight.check(work, found, thorough=True)
    finished = [name for name, one in found.items() if one.state == "complete"]
    for line in [*([f"finished, not looked at: {', '.join(finished)}"] if finished else []), *findings.looked_at]:
        print(line)
    if findings.to_make and findings.pairs:
        speed = "" if work.recipe.machine.tflops else " --tflops 989"
        print(f"hours and memory: mmkd plan {shlex.quote(str(recipe))} --pairs {findings.pairs}{speed}")
    preflight.refuse(found, findings.problems)
    print("no problems")


def stage_command(name: str, old_name: str = "") -> Callable[..., None]:
    """The command of a stage. old_name: under which it goes on for one release, with a line that gives the new one."""

    def trained(
        recipe: RecipeFile,
        out: Out = None,
        changes: Set = None,
        force: Force = False,
        dry_run: DryRun = False,
        gpus: Gpus = None,
    ) -> None:
        command(recipe, out, [*of_gpus(gpus), *(changes or [])], force, dry_run)

    def command(
        recipe: RecipeFile, out: Out = None, changes: Set = None, force: Force = False, dry_run: DryRun = False
    ) -> None:
        from mmkd.pipeline.work import work_one
        from mmkd.renamed import warn

        if old_name:
            warn(f"'mmkd {old_name}' is now called 'mmkd {name}'; the next release knows the new name only")
        work_one(open_run(recipe, out, changes, force, parallel=STAGES[name].parallel), name, dry_run)

    return trained if STAGES[name].is_training else command
