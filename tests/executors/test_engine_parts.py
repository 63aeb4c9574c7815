"""What needs no engine: room on nodes, options of a batch script, the queue as it answers, signals, attempts."""

import ast
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from engine_acts import act, units_in
from hypothesis import given
from hypothesis import strategies as st

from mmkd.errors import ConfigError
from mmkd.executors import ray, slurm_jobs
from mmkd.executors.attempts import add_attempt, attempts_of, outcome_of
from mmkd.executors.drive import drive
from mmkd.executors.plan import MOST_TAKEN, Plan
from mmkd.executors.ray import RaySettings, needed, room
from mmkd.executors.remote import copied_to
from mmkd.executors.slurm import Arrays, SlurmSettings, parameters
from mmkd.executors.slurm_jobs import LOOKS, LocalJobs, SlurmJobs, job_name
from mmkd.executors.slurm_task import Clock, TimeLimitError
from mmkd.executors.table import AnyExecutor
from mmkd.executors.unit import Resources
from mmkd.executors.work import taken, work
from mmkd.folders.leases import take
from mmkd.settings import Settings
from mmkd.validation import parse

GIB = 2**30


class Recipe(Settings):
    executor: AnyExecutor


def node(alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"Alive": alive, "Resources": resources, "NodeID": "n"}


def test_workers_fit_where_all_that_they_need_is_on_one_node() -> None:
    nodes = [node(CPU=8, GPU=2, memory=10 * GIB), node(CPU=4), node(alive=False, CPU=64, GPU=8)]
    assert room(nodes, {"CPU": 2, "GPU": 0, "memory": 0}) == 4 + 2
    assert room(nodes, {"CPU": 1, "GPU": 0.25, "memory": 0}) == 8
    assert room(nodes, {"CPU": 1, "GPU": 0.25, "memory": 3 * GIB}) == 3
    assert room(nodes, {"CPU": 16, "GPU": 0, "memory": 0}) == 0
    assert room([node(CPU=100, GPU=1)], {"CPU": 1, "GPU": 0.1, "memory": 0}) == 10


@given(st.lists(st.integers(0, 64), max_size=5), st.integers(1, 8))
def test_room_is_that_of_the_nodes_one_by_one(cpus: list[int], need: int) -> None:
    found = room([node(CPU=float(number)) for number in cpus], {"CPU": need, "GPU": 0, "memory": 0})
    assert found == sum(number // need for number in cpus)


def test_a_recipe_says_more_of_a_worker_than_the_stage() -> None:
    asked = Resources(cpus=3, gpus=1, memory_mb=1000)
    assert needed(RaySettings(), asked) == {"CPU": 3, "GPU": 1, "memory": 1000 * 2**20}
    assert needed(RaySettings(cpus=0.5, gpus=0), asked) == {"CPU": 0.5, "GPU": 0, "memory": 1000 * 2**20}


def test_without_ray_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'mmkd\[ray\]'"):
        list(RaySettings().open().map(units_in(tmp_path, ["sleep 0"]), act, tmp_path / "notes"))
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"pip install 'mmkd\[slurm\]'"):
        list(SlurmSettings().open().map(units_in(tmp_path, ["sleep 0"]), act, tmp_path / "notes"))


def test_work_that_is_done_needs_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ray", "submitit"):
        monkeypatch.setitem(sys.modules, name, None)
    units = units_in(tmp_path, ["sleep 0"])
    units[0].done.touch()
    for settings in (RaySettings(), SlurmSettings()):
        assert list(settings.open().map(units, act, tmp_path / "notes")) == []


@dataclass
class FakeRay:
    """Raises as Ray does, or says that it is connected."""

    error: Exception

    def is_initialized(self) -> bool:
        return False

    def init(self, **given: Any) -> None:
        raise self.error


@pytest.mark.parametrize("address", ["auto", "far:6379"])
def test_a_cluster_that_is_not_there_is_an_error_with_a_cure(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setitem(sys.modules, "ray", FakeRay(ConnectionError("nobody answers")))
    with pytest.raises(
        ConfigError, match=rf"no connection to a Ray cluster at {address}: nobody answers(.|\n)*ray start"
    ):
        ray.connect(address, None, {"CPU": 1})
    with pytest.raises(ConfigError, match="Ray's client is not supported"):
        ray.connect("ray://far:10001", None, {"CPU": 1})


def test_a_cluster_of_this_machine_has_room_for_the_workers() -> None:
    assert ray._own_cpus(3, 1) == 3
    assert ray._own_cpus(3, 0.5) == 2
    assert ray._own_cpus(None, 1000) == 1000
    assert ray._own_cpus(None, 1) == len(os.sched_getaffinity(0))


def test_options_of_a_batch_script() -> None:
    settings = SlurmSettings(partition="gpu", array_parallelism=16, options={"constraint": "a100|h100"}, cpus=4)
    found = parameters(settings, Resources(cpus=2.5, gpus=0.5, memory_mb=2000), "mmkd-x")
    assert found["slurm_partition"] == "gpu"
    assert found["cpus_per_task"] == 4
    assert found["gpus_per_node"] == 1  # Slurm gives whole ones
    assert found["slurm_array_parallelism"] == 16
    assert found["slurm_additional_parameters"] == {"requeue": True, "constraint": "a100|h100", "mem": "2000M"}
    assert "slurm_account" not in found
    plain = parameters(SlurmSettings(), Resources(cpus=2.5), "mmkd-x")
    assert plain["cpus_per_task"] == 3
    assert "gpus_per_node" not in plain


@pytest.mark.parametrize("value", ["a b", "a\nsleep 9", "$(x)", "`x`", "a'b", 'a"b', "a;b\\", "#", ""])
def test_nothing_of_a_recipe_can_be_a_command_of_a_batch_script(value: str) -> None:
    with pytest.raises(ConfigError, match=r"executor\.partition"):
        parse(Recipe, {"executor": {"kind": "slurm", "partition": value}}, "here")
    with pytest.raises(ConfigError, match=r"executor\.options"):
        parse(Recipe, {"executor": {"kind": "slurm", "options": {"constraint": value}}}, "here")
    with pytest.raises(ConfigError, match=r"executor\.options"):
        parse(Recipe, {"executor": {"kind": "slurm", "options": {f"x{value} ": "a"}}}, "here")


def test_an_executor_without_a_kind_is_local() -> None:
    assert parse(Recipe, {"executor": {"workers": 2}}, "here").executor.kind == "local"
    with pytest.raises(ConfigError, match="'local', 'ray', 'slurm'"):
        parse(Recipe, {"executor": {"kind": "rya"}}, "here")
    with pytest.raises(ConfigError, match=r"unknown key 'executor\.partition'"):
        parse(Recipe, {"executor": {"kind": "ray", "partition": "gpu"}}, "here")


@dataclass
class Queue:
    """Programs `squeue` and `scancel` in a folder that is first in PATH."""

    folder: Path

    def answers(self, *lines: str, code: int = 0) -> None:
        (self.folder / "lines").write_text("".join(f"{line}\n" for line in lines))
        self._program("squeue", f'cat "{self.folder}/lines"; exit {code}')

    def ended(self) -> list[str]:
        log = self.folder / "ended"
        return log.read_text().split() if log.exists() else []

    def _program(self, name: str, body: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    found = Queue(folder)
    found._program("scancel", f'echo "$@" >>"{folder}/ended"')
    found.answers()
    return found


@dataclass
class Job:
    job_id: str

    @property
    def paths(self) -> Any:
        class Paths:
            stderr = Path("/dev/null")

        return Paths()


def plan_in(folder: Path, acts: Sequence[str] = ("sleep 0", "sleep 0")) -> Plan:
    notes = folder / ".units" / "toy"
    notes.mkdir(parents=True, exist_ok=True)
    return Plan(tuple(units_in(folder, acts)), act, notes)


def test_a_task_has_ended_when_the_queue_lacks_it_again_and_not_when_the_queue_is_silent(
    tmp_path: Path, queue: Queue
) -> None:
    plan = plan_in(tmp_path)
    jobs = SlurmJobs(plan, poll_s=0)
    one, other = jobs.submitted({"a": Job("7_0"), "b": Job("7_1")})
    queue.answers("7_0|RUNNING", "7_1|PENDING")
    assert one.is_alive()
    assert other.is_alive()
    queue.answers(code=1)
    assert all(one.is_alive() for _ in range(5))
    queue.answers("7_1|RUNNING")
    assert [one.is_alive() for _ in range(LOOKS)] == [True] * (LOOKS - 1) + [False]
    assert other.is_alive()
    assert "7_0 has ended" in plan.log("a").read_text()
    queue.answers("7_0|PENDING", "7_1|RUNNING")  # it was put back after all
    assert one.is_alive()


def test_the_next_driver_takes_over_what_the_queue_still_has(tmp_path: Path, queue: Queue) -> None:
    plan = plan_in(tmp_path)
    SlurmJobs(plan, 0).submitted({"a": Job("7_0"), "b": Job("7_1"), "c": Job("9")})
    queue.answers("7_1|RUNNING", "9|PENDING", "11_4|RUNNING")
    fewer = Plan(plan.units[:1], act, plan.folder)  # one unit was done in between
    later = SlurmJobs(fewer, 0)
    assert [(task.name, task.job) for task in later.left_behind()] == [("b", "7_1"), ("c", "9")]
    assert later.left_behind() == []
    assert set(queue.ended()) == {"11_4"}  # under this name, and nobody knows what it does


def test_jobs_that_do_other_units_are_ended(tmp_path: Path, queue: Queue) -> None:
    SlurmJobs(plan_in(tmp_path), 0).submitted({"a": Job("7_0")})
    queue.answers("7_0|RUNNING")
    assert SlurmJobs(plan_in(tmp_path, ["sleep 0", "sleep 1"]), 0).left_behind() == []
    assert queue.ended() == ["7_0"]


def test_at_the_end_waiting_tasks_are_ended_at_once_and_running_ones_after_some_seconds(
    tmp_path: Path, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(slurm_jobs, "time", Clockwork(now))
    jobs = SlurmJobs(plan_in(tmp_path), 0)
    tasks = jobs.submitted({"a": Job("7_0"), "b": Job("7_1")})
    queue.answers("7_0|RUNNING", "7_1|PENDING", "8|RUNNING")
    for task in tasks:
        task.end()
    assert queue.ended()[0] == "7_1"
    assert sorted(set(queue.ended())) == ["7_0", "7_1"]
    assert now[0] > slurm_jobs.PATIENCE_S


@dataclass
class Clockwork:
    now: list[float]

    def monotonic(self) -> float:
        return self.now[0]

    def sleep(self, seconds: float) -> None:
        self.now[0] += seconds


def test_folders_of_one_name_have_jobs_of_different_names() -> None:
    assert job_name(Path("/a/my stage; rm")).startswith("mmkd-mystagerm-")
    assert job_name(Path("/a/x")) != job_name(Path("/b/x"))


def test_no_executor_unpickles_a_file() -> None:
    """Submitit and Ray carry units to their workers by themselves; nothing of ours reads code out of a folder."""
    for path in Path(slurm_jobs.__file__).parent.glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {one.name for node in nodes if isinstance(node, ast.Import) for one in node.names}
        names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
        assert "dataclasses" in names or path.stem not in ("ray", "slurm", "work")  # the walk sees imports
        assert not {"pickle", "cloudpickle", "marshal"} & names, path


def test_only_the_user_can_change_what_tasks_are_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitit = pytest.importorskip("submitit")
    seen = []

    def refuse(folder: Path, cluster: str) -> None:
        seen.append((folder, folder.stat().st_mode & 0o777))
        raise RuntimeError("no queue")

    monkeypatch.setattr(submitit, "AutoExecutor", refuse)
    plan, settings = plan_in(tmp_path), SlurmSettings(cluster="local")
    with pytest.raises(ConfigError, match="Slurm did not take the jobs: no queue"):
        Arrays(settings, Resources(), LocalJobs(plan)).start(plan, ["a"])
    assert seen == [(plan.folder / "slurm/a", 0o700)]


def interrupted(signals: Sequence[int], waits: Sequence[float], limit_s: float, plan: Plan) -> list[Any]:
    """Work with these signals, sent while units run; what was raised, and what the clock says."""
    clock: Clock

    def function(payload: Any) -> None:
        for number, wait in zip(signals, waits, strict=True):
            clock._start -= wait
            os.kill(os.getpid(), number)
        act(payload)

    clock = Clock(function, limit_s)
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}
    signal.signal(signal.SIGUSR2, clock.on_warning)
    signal.signal(signal.SIGTERM, clock.on_end)
    try:
        for _ in taken(Plan(plan.units, clock, plan.folder), "a"):
            if clock.is_over:
                break
    except SystemExit as ended:
        return ["ended", ended.code]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return ["went on", clock.is_over]


def test_a_warned_task_finishes_its_unit_and_begins_no_other(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    assert interrupted([signal.SIGUSR2], [0], 600, plan) == ["went on", True]
    assert [unit.is_done for unit in plan.units] == [True, False]


def test_a_task_that_is_ended_gives_its_unit_back_and_it_has_not_failed(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    assert interrupted([signal.SIGTERM], [1], 600, plan) == ["ended", 128 + signal.SIGTERM]
    assert not plan.units[0].is_done
    assert not plan.lease(plan.units[0]).exists()
    assert not plan.failed(plan.units[0]).exists()


def test_a_unit_that_is_longer_than_any_job_has_failed(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    assert interrupted([signal.SIGUSR2, signal.SIGTERM], [0, 400], 600, plan) == ["went on", True]
    assert attempts_of(plan.failed(plan.units[0])).count == 1
    assert TimeLimitError.__name__ in attempts_of(plan.failed(plan.units[0])).problem
    assert "executor.timeout_min" in attempts_of(plan.failed(plan.units[0])).problem


def test_what_a_worker_prints_goes_to_its_log_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    with copied_to(log):
        print("found")
        print("trouble", file=sys.stderr)
    print("after")
    assert log.read_text() == "found\ntrouble\n"
    assert capsys.readouterr() == ("found\nafter\n", "trouble\n")


@dataclass
class Lost:
    """A worker that takes a unit and is lost with its machine, `times` times in all; later ones work."""

    name: str
    plan: Plan
    is_lost: bool
    was_taken: bool = True

    def __post_init__(self) -> None:
        if self.is_lost:
            self.lease = take(self.plan.lease(self.plan.units[0]), self.name, self.plan.pace)
        else:
            work(self.plan, self.name)

    def is_alive(self) -> bool:
        return False

    def end(self) -> None: ...


@dataclass
class Spot:
    """A crew of one worker, whose machine is taken away so many times."""

    times: int
    taken: bool
    size: int = 1
    started: int = 0

    def start(self, plan: Plan, names: Sequence[str]) -> Sequence[Lost]:
        self.started += 1
        return [Lost(names[0], plan, self.started <= self.times, self.taken)]


@pytest.mark.parametrize(
    ("times", "was_taken", "fails"), [(9, True, False), (10, True, True), (2, False, False), (3, False, True)]
)
def test_a_machine_that_is_taken_is_no_failure_of_the_unit_up_to_ten_times(
    tmp_path: Path, times: int, was_taken: bool, fails: bool
) -> None:
    assert MOST_TAKEN == 10
    plan = plan_in(tmp_path, ["sleep 0"])
    crew = Spot(times, was_taken)
    outcomes = list(drive(plan, crew, sleep=lambda seconds: None))
    assert [bool(one.problem) for one in outcomes] == [fails]
    assert crew.started in ((times, times + 1) if fails else (times + 1,))
    assert plan.units[0].is_done != fails
    assert plan.folder.exists() == fails  # the notes stay where something failed


def test_losses_and_failures_are_counted_apart(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    unit = plan.units[0]
    for _ in range(2):
        add_attempt(plan, unit, "a", "lost", was_taken=True)
        add_attempt(plan, unit, "a", "failed")
    assert (attempts_of(plan.failed(unit)).count, attempts_of(plan.failed(unit)).taken) == (2, 2)
    assert outcome_of(plan, unit) is None
    add_attempt(plan, unit, "a", "failed")
    assert outcome_of(plan, unit).problem == "failed"
