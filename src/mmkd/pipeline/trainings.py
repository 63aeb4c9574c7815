"""The trainings of a run: what each of them is made from, and who does it. Their stages are in `table`.

Everything heavy is imported where a folder is made, so that finding a training finished costs little.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mmkd.distributed import ALONE, World
from mmkd.executors.plan import notes_of, remove_notes
from mmkd.folders.stage import Stage
from mmkd.pipeline.side_by_side import LOGS, hand_out, to_hand_out
from mmkd.pipeline.stages import MODEL_FILES, curate_into
from mmkd.progress import say

if TYPE_CHECKING:
    from mmkd.pipeline.recipe import Recipe, SpecialistSettings
    from mmkd.pipeline.run import Run
    from mmkd.pipeline.table import StageSpec

Counts = Mapping[str, int]


def train_all(spec: "StageSpec", run: "Run", world: World) -> None:
    """The trainings of a stage: one folder each, none reads another's.

    One after another in this process, where the processes of a world share each batch; or side by side, where the run
    has an executor that hands them out. What is finished or refused is found here in both cases, before work begins.
    """
    trainings = {name: partial(train, name, spec.input_names(run)) for name in spec.folder_names(run)}
    by_workers = to_hand_out(trainings, run, world)
    for name, training in trainings.items():
        if name not in by_workers:
            training(run, world)
            _draw_curves(run, world)
    for _ in hand_out({name: trainings[name] for name in by_workers}, run, spec.name):
        _draw_curves(run, world)
    if world.first and run.standings is None:
        remove_notes(notes_of(run.out / spec.name))  # of trainings that failed when they were handed out


def train(name: str, inputs: Sequence[str], run: "Run", world: World = ALONE) -> None:
    """One training. name: of its folder; inputs: of those that its stage reads; all below the run's."""
    kind, _, one = name.partition("/")
    if kind == "specialists":
        settings = next(each for each in run.specialists if each.name == one)
        curate_into(f"{name}.corpus", run, settings.curate, world)
        _pretrain(run, settings, f"{name}.corpus", name, world, ranks=1)
    elif kind == "pretrain":
        _pretrain(run, run.recipe, "corpus", name, world, run.recipe.machine.gpus)
    else:
        _distill(run, run.recipe.rivals[one] if one else run.recipe.distill, inputs, name, world)


def _pretrain(
    run: "Run", what: "Recipe | SpecialistSettings", corpus: str, name: str, world: World, ranks: int
) -> None:
    """Stage 1. ranks: processes that a run of one starts for it."""
    recipe, out = run.recipe, run.out
    settings = {"pretrain": run.plain(what.pretrain), "student": run.plain(what.student), "seed": recipe.seed}

    def made_from() -> Stage:
        return run.stage("student", name, settings, [corpus], MODEL_FILES, paths_of=what.student)

    def make(stage: Stage) -> Counts:
        from mmkd.training.launch import train_by
        from mmkd.training.loop import Place
        from mmkd.training.train import pretrain as body

        say(f"{name}: stage 1")
        place = Place(stage.partial, recipe.machine, recipe.seed, stage.folder, world)
        return train_by(ranks, body, what.pretrain, what.student, out / corpus, place=place, logs=out / LOGS / name)

    run.finish(name, made_from, make, world)


def _distill(run: "Run", settings: Any, inputs: Sequence[str], name: str, world: World) -> None:
    """Stage 2, of the student or a rival."""
    recipe, out, kept = run.recipe, run.out, run.kept(settings.trained_with)

    def made_from() -> Stage:
        return run.stage("student", name, {**kept, "seed": recipe.seed}, inputs, MODEL_FILES)

    def make(stage: Stage) -> Counts:
        from mmkd.training.launch import train_by
        from mmkd.training.loop import Place
        from mmkd.training.train import Inputs
        from mmkd.training.train import distill as body

        say(f"{name}: stage 2, objective {settings.objective}")
        read = Inputs(out / "pretrain", out / "corpus", out / "features", out / "reliability", run.names["teacher"])
        place = Place(stage.partial, recipe.machine, recipe.seed, stage.folder, world)
        return train_by(recipe.machine.gpus, body, settings, read, place=place, logs=out / LOGS / name)

    run.finish(name, made_from, make, world)


def _draw_curves(run: "Run", world: World) -> None:
    """One page for all trainings of a run; runs that share a pool are many, and their results are drawn elsewhere."""
    from mmkd.training.records.curves import have_written_since_page

    if world.first and run.pool is None and run.standings is None and have_written_since_page(run.out):
        from mmkd.report.training_page import write_curves

        write_curves(run.out)
