"""The runs of an ablation, handed out by an executor, and their rows in one file.

A run is one variant with one seed: the stages up to stage 2 in a shared pool, and the zero-shot accuracy that the
student has reached on each data set, by the task that evaluation runs.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmkd.ablate.settings import DEFAULT, Ablation, recipe_of
from mmkd.ablate.summary import ACCURACY, RESULTS, SECONDS, STAGE1, STUDENT, Row, read_results, run_folder
from mmkd.errors import ConfigError, MmkdError, TrainingError
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages
from mmkd.evaluation.embed import embed_data_set
from mmkd.evaluation.evaluate import open_data_sets
from mmkd.evaluation.models.embeddings import EmbeddedDataSet
from mmkd.evaluation.models.encoders import Encoder, loadable_model
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.evaluation.tasks.table import TASKS
from mmkd.executors.executor import Executor
from mmkd.executors.local import LocalExecutor, LocalSettings
from mmkd.executors.plan import notes_of
from mmkd.executors.unit import Resources, Unit, unit_id
from mmkd.folders.atomic import write_json
from mmkd.folders.json_lines import write_json_lines
from mmkd.folders.locks import sole_owner
from mmkd.folders.stage import Stage, check_link, complete, digest_of, read_log, read_manifest, write_link
from mmkd.pipeline.recipe import Recipe
from mmkd.pipeline.run import Run
from mmkd.pipeline.table import needed_for
from mmkd.progress import say
from mmkd.statistics.bootstrap import number_of_groups
from mmkd.teachers.zoo.settings import LOCAL, TeacherSpec
from mmkd.validation import nearest

LOG = "log.txt"
ALONE = LocalExecutor(1)
FOUND = "accuracy.json"


@dataclass(frozen=True)
class Job:
    """A run of an ablation. folder: its own. pool: what it shares with others. teachers: measure them too."""

    variant: str
    recipe: Recipe
    folder: Path
    pool: Path
    force: bool = False
    teachers: bool = False


def work(job: Job) -> None:
    """Do the job, with all that it has to say in its folder's log, and why it failed where it did."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / LOG).open("a") as log, contextlib.redirect_stdout(log):
        try:
            write_json_lines(job.folder / RESULTS, rows_of(job))
        except MmkdError as error:
            print(error, file=log)
            raise


def _work_and_mark(given: tuple[Job, Path]) -> None:
    job, mark = given
    work(job)
    write_json(mark, {"variant": job.variant, "seed": job.recipe.seed})


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
    from mmkd.ablate.schedule import counted_sets, measured, zero_shot_sets
    from mmkd.evaluation.data_sets.opened import DecodedImages

    data_sets = zero_shot_sets(run.recipe.evaluate)
    images = DecodedImages(run.recipe.machine.decoded_cache_mb)
    models = [TeacherSpec(name=name, model=f"{LOCAL}{run.students[name]}") for name in (STAGE1, STUDENT)]
    models += run.teachers if job.teachers else []
    counting = counted_sets(data_sets, run.recipe.evaluate.least_groups)
    rows = [
        Row(job.variant, run.recipe.seed, spec.name, ACCURACY, **found, is_counted=found["dataset"] in counting)
        for spec in models
        for found in measured(run, spec, data_sets, images)
    ]
    steps = int(read_manifest(run.out / "distill")["counts"]["steps"])
    seconds = float(read_log(run.out / "distill")["wall_s"])
    return [*rows, Row(job.variant, run.recipe.seed, STUDENT, SECONDS, "", "", seconds, steps)]


TASK = "zero_shot"


def zero_shot_sets(settings: EvaluateSettings) -> list[DataSet]:
    """The recipe's data sets that ask for classes. Raises ConfigError when there is none."""
    found = [data_set for data_set in open_data_sets(settings) if TASK in data_set.card.tasks]
    if not found:
        raise ConfigError(f"an ablation measures {TASK}, but no card of [evaluate] has this task; add one")
    return found


def counted_sets(data_sets: Sequence[DataSet], least_groups: int) -> list[str]:
    """Those that means are made of. Raises ConfigError when there is none."""
    found = [
        data_set.card.id
        for data_set in data_sets
        if number_of_groups([sample.group for sample in data_set.samples if sample.split == "test"]) >= least_groups
    ]
    if not found:
        raise ConfigError(
            f"an ablation compares means, but no data set of [evaluate] has the {least_groups:,} groups in its test "
            "split that least_groups asks for; lower it or add a card"
        )
    return found


def measured(run: Run, spec: TeacherSpec, data_sets: Sequence[DataSet], images: DecodedImages) -> list[dict[str, Any]]:
    """A row for each data set (dataset, modality, value in 0..1, n), from the run's folder `measured/NAME`."""
    model = loadable_model(spec)
    inputs = {"model": model.digest, **{data_set.card.id: data_set.digest for data_set in data_sets}}
    settings = {"task": TASK, "protocol": TASKS[TASK].protocol}
    stage = run.pooled(Stage("measurement", run.out / "measured" / spec.name, settings, inputs))

    def body(folder: Path) -> dict[str, int]:
        from mmkd.device import prepare

        encoder = model.load(prepare(run.recipe.machine))
        rows = [accuracy(encoder, data_set, images, run.recipe.evaluate, spec.name) for data_set in data_sets]
        write_json(folder / FOUND, {"rows": rows})
        return {"data_sets": len(rows), "samples": sum(row["n"] for row in rows)}

    complete(stage, body, run.force)
    found: list[dict[str, Any]] = json.loads((run.out / "measured" / spec.name / FOUND).read_text())["rows"]
    return found


def accuracy(
    encoder: Encoder, data_set: DataSet, images: DecodedImages, settings: EvaluateSettings, name: str
) -> dict[str, Any]:
    """Of one model on one data set, each sample once."""
    card, task = data_set.card, TASKS[TASK]
    embedded = embed_data_set(encoder, data_set, images, settings.batch_size, 0, f"{name} on {card.id}")
    predicted = task.predict(
        EmbeddedDataSet(name, card, data_set.samples, data_set.images, [embedded], settings.of_task(task), seed=0)
    )
    value_1 = task.measure(predicted.columns, np.ones((1, len(predicted.id))))[task.primary]
    return {"dataset": card.id, "modality": card.modality, "value": float(value_1[0]), "n": len(predicted.id)}


def jobs_of(
    ablation: Ablation,
    out: Path,
    pool: Path,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (),
    jobs: int = 1,
    force: bool = False,
) -> list[Job]:
    """The runs, the default's first and seeds apart, so that processes seldom wait for what another is making.

    only, seeds: these, all without. jobs: processes that share the processors. Raises ConfigError for a variant that
    the ablation does not have.
    """
    known = list(ablation.all_variants)
    for name in only:
        if name not in known:
            raise ConfigError(f"--only {name}: no such variant; {nearest(name, known)}")
    found = []
    for name in [name for name in known if name in (only or known)]:
        for seed in seeds or ablation.seeds:
            folder = run_folder(out, name, seed)
            recipe = _for_one_process(recipe_of(ablation, name, seed, folder), jobs)
            found.append(Job(name, recipe, folder, pool, force, teachers=name == DEFAULT))
    return found


def _for_one_process(recipe: Recipe, jobs: int) -> Recipe:
    """The processors are shared out; image workers and an executor's would be processes of processes."""
    cores = len(os.sched_getaffinity(0))
    machine = {"workers": 0, "threads": max(1, cores // jobs), "gpus": 1} if jobs > 1 else {}
    return recipe.model_copy(
        update={"machine": recipe.machine.model_copy(update=machine), "executor": LocalSettings(workers=1)}
    )


def run_all(work_list: Sequence[Job], out: Path, executor: Executor = ALONE) -> None:
    """Have the jobs done; after each, `results.jsonl` has the rows of all finished ones.

    A run that fails does not keep the others from going on; raises TrainingError at the end that names them.
    """
    notes = notes_of(out, "runs")
    units = [unit_of(job, notes) for job in work_list]
    for unit in units:  # a call that was cut off has left the marks of what it had finished
        if not (unit.payload[0].folder / RESULTS).is_file():
            unit.done.unlink(missing_ok=True)
    done = sum(unit.is_done for unit in units)
    failed = []
    for outcome in executor.map(units, _work_and_mark, notes, Resources()):
        done, job = done + 1, outcome.unit.payload[0]
        label = f"[{done}/{len(work_list)}] {outcome.unit.label}"
        log = job.folder / LOG
        say(f"{label}: failed, see {log}\n  {outcome.problem}" if outcome.problem else f"{label}: finished")
        failed += [label] if outcome.problem else []
        write_json_lines(out / RESULTS, gathered(out))
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(work_list)} runs failed ({'; '.join(failed[:5])}{' ...' if failed[5:] else ''}); "
            "the tables have the finished ones; mend the reason and run the same command again"
        )


def unit_of(job: Job, notes: Path) -> Unit:
    """The job as a unit of work, complete when its mark is there: the notes go, and their marks with them, when all
    jobs are done, so that the next call looks at every stage again."""
    recipe = job.recipe.model_dump(mode="json", exclude={"machine", "executor"})
    made_from = unit_id(job.variant, recipe, str(job.folder), str(job.pool), job.force)
    mark = notes / f"{made_from}.done"
    return Unit(made_from, f"{job.variant}, seed {job.recipe.seed}", mark, (job, mark))


def gathered(out: Path) -> list[Row]:
    """The rows of all finished runs below `out`, in the order of their folders."""
    return [row for path in sorted(out.glob(f"*/seed-*/{RESULTS}")) for row in read_results(path)]
