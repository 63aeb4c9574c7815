"""What is checked before a long run begins."""

from mmkd.errors import ModelError
from mmkd.folders.stage import status
from mmkd.pipeline.run import Run
from mmkd.progress import say
from mmkd.teachers.zoo.settings import REFERENCE, TeacherSpec


def preflight(run: Run) -> None:
    """Check the files of every teacher that the recipe does not train itself and whose features are still to be made.

    No network is loaded. Raises ModelError that says of all of them at once what is missing, and ConfigError as
    `check_tracking` does.
    """
    from mmkd.training.records.metrics_log import check_tracking

    check_tracking(run.recipe.machine.track)
    missing = []
    for spec in _to_do(run):
        from mmkd.teachers.files.identity import identity
        from mmkd.teachers.load import check_files

        try:
            identity(spec)
            dim = check_files(spec)
        except ModelError as error:
            missing.append(str(error))
        else:
            say(f"teacher {spec.name}: {f'{dim} dimensions, ' if dim else ''}licence {spec.licence}")
    if missing:
        raise ModelError("\n".join(missing))


def _to_do(run: Run) -> list[TeacherSpec]:
    given = [spec for spec in run.recipe.teachers if spec.name not in run.recipe.leave_out]
    return [
        spec for spec in given if spec.library != REFERENCE and status(run.out / "features" / spec.name) != "complete"
    ]
