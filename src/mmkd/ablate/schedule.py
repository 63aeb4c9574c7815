"""All runs of an ablation, one after another or in several processes, and their rows in one file."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path

from mmkd.ablate.job import LOG, Job, work
from mmkd.ablate.results import RESULTS, Row, read_results, run_folder
from mmkd.ablate.settings import DEFAULT, Ablation
from mmkd.ablate.variants import recipe_of
from mmkd.errors import ConfigError, TrainingError
from mmkd.folders.json_lines import write_json_lines
from mmkd.pipeline.recipe import Recipe
from mmkd.processes import worker_pool
from mmkd.progress import say
from mmkd.validation import nearest


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
    """The processors are shared out; image workers would be processes of processes."""
    cores = len(os.sched_getaffinity(0))
    machine = {"workers": 0, "threads": max(1, cores // jobs)} if jobs > 1 else {}
    return recipe.model_copy(update={"machine": recipe.machine.model_copy(update=machine)})


def run_all(work_list: Sequence[Job], out: Path, jobs: int = 1) -> None:
    """Do the jobs; after each, `results.jsonl` has the rows of all finished ones.

    A run that fails for a reason a user can mend does not keep the others from going on; raises TrainingError at the
    end that names them.
    """
    failed = []
    for done, (job, problem) in enumerate(_finished(work_list, jobs), start=1):
        label = f"[{done}/{len(work_list)}] {job.variant}, seed {job.recipe.seed}"
        say(f"{label}: failed, see {job.folder / LOG}\n  {problem}" if problem else f"{label}: finished")
        failed += [label] if problem else []
        write_json_lines(out / RESULTS, gathered(out))
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(work_list)} runs failed ({'; '.join(failed[:5])}{' ...' if failed[5:] else ''}); "
            "the tables have the finished ones; mend the reason and run the same command again"
        )


def _finished(work_list: Sequence[Job], jobs: int) -> Iterator[tuple[Job, str]]:
    if jobs == 1:
        for job in work_list:
            yield job, work(job)
        return
    with worker_pool(jobs) as pool:
        waiting = {pool.submit(work, job): job for job in work_list}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def gathered(out: Path) -> list[Row]:
    """The rows of all finished runs below `out`, in the order of their folders."""
    return [row for path in sorted(out.glob(f"*/seed-*/{RESULTS}")) for row in read_results(path)]
