"""The executor of a Slurm cluster: tasks of job arrays that each take the next unit until none is left.

An array task is a worker, not a unit: however small the units are, the queue sees a few jobs. Slurm puts a task that it
takes a node from back into the queue. What the driver knows it reads from files and from the queue, so that a driver
that was killed goes on with the arrays that it left there.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, StringConstraints

from mmkd.errors import ConfigError
from mmkd.executors.drive import drive
from mmkd.executors.executor import Executor, Worker
from mmkd.executors.plan import Plan, plan_of
from mmkd.executors.slurm_jobs import Jobs, LocalJobs, SlurmJobs, Task
from mmkd.executors.slurm_task import ArrayTask
from mmkd.executors.unit import ONE, Function, Outcome, Resources, Unit
from mmkd.settings import Settings

WORKERS = 8  # where nothing is said
INSTALL = "install it with: pip install 'mmkd[slurm]'"
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.,:;=@%+&|*()\[\]/~-]+$", max_length=500)]
"""A value in a batch script: no blanks, quotes or line ends, behind which commands could stand."""
Option = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]*$", max_length=50)]


class SlurmSettings(Settings):
    """Job arrays of a Slurm cluster, of the extra `slurm`.

    kind: of the executor. partition, account, qos: of the jobs; not given: Slurm's defaults. array_parallelism: array
    tasks, each of which is a worker, that run at a time; not given: workers. workers: array tasks that are in the queue
    at a time; not given: array_parallelism, or 8. timeout_min: time limit of a task, minutes, in which it does as many
    units as it can; a unit that takes longer than that fails. signal_s: seconds before the limit from which on a task
    begins no other unit. cpus: of a task, instead of what the stage asks for. gpus: of a task, whole ones, instead of
    what the stage asks for. memory_mb: of a task, MiB, instead of what the stage asks for. options: other options of
    sbatch, as `constraint = "a100"`. poll_s: seconds between two looks at the queue. cluster: `local` runs the tasks as
    processes of this machine, to try without Slurm.
    """

    kind: Literal["slurm"] = "slurm"
    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    array_parallelism: PositiveInt | None = None
    workers: PositiveInt | None = None
    timeout_min: PositiveInt = 240
    signal_s: PositiveInt = 120
    cpus: PositiveInt | None = None
    gpus: NonNegativeInt | None = None
    memory_mb: PositiveInt | None = None
    options: dict[Option, Word] = {}
    poll_s: PositiveFloat = 10.0
    cluster: Literal["slurm", "local"] = "slurm"

    def open(self) -> Executor:
        """The executor of these settings. It submits nothing before a `map` that has work."""
        return SlurmExecutor(self)


@dataclass(frozen=True)
class SlurmExecutor:
    """settings: of the jobs."""

    settings: SlurmSettings

    def map(
        self, units: Sequence[Unit], function: Function, folder: Path, resources: Resources = ONE
    ) -> Iterator[Outcome]:
        """As `Executor.map`; working directory and files: on a file system that all nodes have at the same path.

        Raises ConfigError where submitit or Slurm is missing, or Slurm refuses the jobs.
        """
        plan = plan_of(units, function, folder)
        if plan.units:
            try:
                import submitit  # noqa: F401
            except ImportError as error:
                raise ConfigError(f"the executor slurm needs submitit ({error}); {INSTALL}") from error
            yield from drive(plan, Arrays(self.settings, resources, _jobs(self.settings, plan)))


def _jobs(settings: SlurmSettings, plan: Plan) -> Jobs:
    return SlurmJobs(plan, settings.poll_s) if settings.cluster == "slurm" else LocalJobs(plan)


@dataclass
class Arrays:
    """A crew of array tasks. jobs: those of the plan that the queue has."""

    settings: SlurmSettings
    resources: Resources
    jobs: Jobs
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def size(self) -> int:
        """As `Crew.size`."""
        return self.settings.workers or self.settings.array_parallelism or WORKERS

    def start(self, plan: Plan, names: Sequence[str]) -> Sequence[Worker]:
        """As `Crew.start`. Tasks that an earlier driver left in the queue are workers again, under their old names."""
        found = self.jobs.left_behind()[: len(names)]
        new = names[len(found) :]
        return [*found, *(self._submit(plan, new) if new else [])]

    def _submit(self, plan: Plan, names: Sequence[str]) -> list[Task]:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        folder = plan.folder / "slurm" / names[0]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # tasks run what submitit leaves there: ours alone
        limit_s = 60.0 * self.settings.timeout_min
        tasks = [ArrayTask(plan, name, n / len(names), limit_s) for n, name in enumerate(names)]
        try:
            executor = submitit.AutoExecutor(folder, cluster=self.settings.cluster)
            executor.update_parameters(**parameters(self.settings, self.resources, self.jobs.name))
            with executor.batch():  # of one array
                jobs = [executor.submit(task) for task in tasks]
        except (FailedJobError, FailedSubmissionError, RuntimeError) as error:
            raise ConfigError(
                f"Slurm did not take the jobs: {str(error).strip()}; `sinfo` lists partitions, `sacctmgr show assoc "
                "user=$USER` accounts; set [executor] accordingly, or executor.cluster to local to try without Slurm"
            ) from error
        return self.jobs.submitted(dict(zip(names, jobs, strict=True)))


def parameters(settings: SlurmSettings, resources: Resources, name: str) -> dict[str, Any]:
    """Of submitit, for tasks of these settings. name: of the jobs."""
    cpus = settings.cpus or max(1, math.ceil(resources.cpus))
    gpus = math.ceil(resources.gpus) if settings.gpus is None else settings.gpus
    memory_mb = settings.memory_mb or resources.memory_mb
    at_a_time = settings.array_parallelism or settings.workers or WORKERS
    shared: dict[str, Any] = {"timeout_min": settings.timeout_min, "gpus_per_node": gpus}
    if settings.cluster == "local":
        return shared
    given = {"partition": settings.partition, "account": settings.account, "qos": settings.qos}
    extra: dict[str, Any] = {"requeue": True, **settings.options}
    if memory_mb:
        extra["mem"] = f"{memory_mb}M"
    if not gpus:
        del shared["gpus_per_node"]  # clusters without GPUs do not know the option
    return {
        **shared, "name": name, "cpus_per_task": cpus, "slurm_array_parallelism": at_a_time,
        "slurm_signal_delay_s": settings.signal_s, "slurm_additional_parameters": extra,
        "slurm_setup": [f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{cpus}}}"],
        **{f"slurm_{key}": value for key, value in given.items() if value},
    }  # fmt: skip
