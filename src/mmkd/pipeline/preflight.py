"""What is looked at before a long run begins."""

from mmkd.errors import ModelError
from mmkd.folders.stage import status
from mmkd.pipeline.run import Run
from mmkd.progress import say
from mmkd.teachers.zoo.settings import REFERENCE


def preflight(run: Run) -> None:
    """Load every teacher that the recipe does not train itself, so that a missing one stops the run before any work.

    Raises ModelError that says of all of them at once what is missing, and ConfigError as `check_tracking` does.
    """
    from mmkd.device import prepare
    from mmkd.teachers.load import identity, load_teacher
    from mmkd.training.records.metrics_log import check_tracking

    check_tracking(run.recipe.machine.track)
    todo = [
        spec
        for spec in run.recipe.teachers
        if spec.name not in run.recipe.leave_out
        and spec.library != REFERENCE
        and status(run.out / "features" / spec.name) != "complete"
    ]
    missing = []
    for spec in todo:
        try:
            identity(spec)
        except ModelError as error:
            missing.append(str(error))
    if missing:
        raise ModelError("\n".join(missing))
    for spec in todo:
        teacher = load_teacher(spec, prepare(run.recipe.machine))
        say(f"teacher {spec.name}: {teacher.dim} dimensions, licence {spec.licence}")
