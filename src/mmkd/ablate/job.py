"""One variant with one seed: the stages up to stage 2 in a shared pool, and what the student has reached."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from mmkd.ablate.results import ACCURACY, RESULTS, SECONDS, STAGE1, STUDENT, Row
from mmkd.errors import MmkdError
from mmkd.folders.json_lines import write_json_lines
from mmkd.folders.locks import sole_owner
from mmkd.folders.stage import check_link, digest_of, read_manifest, write_link
from mmkd.pipeline.recipe import Recipe
from mmkd.pipeline.run import Run
from mmkd.pipeline.table import needed_for
from mmkd.teachers.zoo.settings import LOCAL, TeacherSpec

LOG = "log.txt"


@dataclass(frozen=True)
class Job:
    """A run of an ablation. folder: its own. pool: what it shares with others. teachers: measure them too."""

    variant: str
    recipe: Recipe
    folder: Path
    pool: Path
    force: bool = False
    teachers: bool = False


def work(job: Job) -> str:
    """Do the job, with all that it has to say in its folder's log; returns "" or why it failed.

    Only what a user can mend is returned; a defect of ours is raised.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / LOG).open("a") as log, contextlib.redirect_stdout(log):
        try:
            write_json_lines(job.folder / RESULTS, rows_of(job))
        except MmkdError as error:
            print(error, file=log)
            return str(error)
    return ""


def rows_of(job: Job) -> list[Row]:
    """Run the stages that are not finished, and measure."""
    run = Run(job.recipe, job.folder, job.force, job.pool)
    for spec in needed_for(run, "distill"):
        _extract(run) if spec.name == "extract" else spec.work(run)
    return _measure(run, job)


def _extract(run: Run) -> None:
    """Each teacher's features in a pool folder of their own, so that variants with other teachers share them."""
    from mmkd.features.extract import extract, feature_stage

    corpus = digest_of(run.out / "corpus")
    for spec in run.teachers:
        stage = feature_stage(spec, run.recipe.extract, corpus, run.out / "features", run.kept)
        home = stage.in_pool(run.pool or run.out).folder
        check_link(replace(stage, link=stage.folder), run.force)
        with sole_owner(home, wait=True):
            extract([spec], run.recipe.extract, run.out / "corpus", home, run.recipe.machine, kept=run.kept)
        write_link(stage.folder, home / spec.name)


def _measure(run: Run, job: Job) -> list[Row]:
    from mmkd.ablate.measure import measured, zero_shot_sets
    from mmkd.evaluation.data_sets.opened import DecodedImages

    data_sets = zero_shot_sets(run.recipe.evaluate)
    images = DecodedImages(run.recipe.machine.decoded_cache_mb)
    models = [TeacherSpec(name=name, model=f"{LOCAL}{run.students[name]}") for name in (STAGE1, STUDENT)]
    models += run.teachers if job.teachers else []
    rows = [
        Row(job.variant, run.recipe.seed, spec.name, ACCURACY, **found)
        for spec in models
        for found in measured(run, spec, data_sets, images)
    ]
    manifest = read_manifest(run.out / "distill")
    steps = int(manifest["counts"]["steps"])
    return [*rows, Row(job.variant, run.recipe.seed, STUDENT, SECONDS, "", "", float(manifest["wall_s"]), steps)]
