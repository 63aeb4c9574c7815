"""The executor of Ray, on a cluster of three nodes on this machine."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engine_acts
import pytest
from engine_acts import PYTHONPATH, attempts, digest_of, done_by
from stage_work import STAGES, Check

from mmkd.errors import ConfigError, DataError
from mmkd.executors.local import LocalExecutor
from mmkd.executors.ray import RaySettings, connect
from mmkd.executors.ray_actor import RayWorker

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
STORE = 80 * 2**20  # bytes; Ray takes no less than 75 MiB


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes of one processor; this process is connected to the first."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PYTHONPATH)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        node = {"num_cpus": 1, "object_store_memory": STORE}
        try:
            cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=node))
            for _ in range(2):
                patiently(lambda: cluster.add_node(**node))
        except Exception as error:  # whatever Ray's own start raises
            pytest.skip(f"Ray is installed and does not start here: {error}")
        connect(cluster.address, None, {"CPU": 1})
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def patiently(start: Callable[[], Any]) -> Any:
    """What it returns. Ray gives a node half a minute to start, which may be too short on a busy machine."""
    for _ in range(2):
        try:
            return start()
        except Exception as error:
            print(error)
    return start()


def until(condition: Callable[[], object], seconds: float = 150.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def started(folder: Path) -> dict[str, int]:
    """Name of each unit that was begun -> the process that began it last."""
    found = {path.stem: path.read_text().split() for path in folder.glob("*.attempts")}
    return {name: int(processes[-1]) for name, processes in found.items() if processes}


@pytest.mark.parametrize("workers", [1, 2, None])
def test_a_cluster_makes_what_local_makes_though_a_worker_is_killed(
    cluster: Any, tmp_path: Path, workers: int | None
) -> None:
    acts = ["sleep 0.05"] * 6 + ["die once"]
    made = done_by(RaySettings(address="auto", workers=workers).open(), tmp_path / "ray", acts)
    assert made == done_by(LocalExecutor(1), tmp_path / "one", ["sleep 0"] * 7)
    assert [attempts(path) for path in sorted((tmp_path / "ray").glob("*.done"))] == [1] * 6 + [2]
    assert not (tmp_path / "ray" / ".units").exists()


def test_what_fails_is_named_with_the_log_of_its_worker(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 units of work failed") as caught:
        done_by(RaySettings(address="auto", workers=2).open(), tmp_path / "ray", ["defect", "die", "sleep 0"])
    assert "0: RuntimeError: no reason" in str(caught.value)
    log = Path(str(caught.value).partition("its log: ")[2].partition(" (see")[0])
    assert "this is 1" in log.read_text()
    assert (tmp_path / "ray" / "2.done").is_file()


def test_a_gpu_that_no_node_has_is_an_error_and_so_is_a_module_that_no_worker_finds(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"has room for a worker \(1 CPU, 0.5 GPU\)"):
        done_by(RaySettings(address="auto", gpus=0.5).open(), tmp_path, ["sleep 0"])
    # sent as a reference to a module that only this process has
    monkeypatch.setitem(sys.modules, "only_here", sys.modules["engine_acts"])
    monkeypatch.setattr(engine_acts.act, "__module__", "only_here")
    with pytest.raises(DataError, match=r"ended before they had begun; .* has what") as caught:
        done_by(RaySettings(address="auto", workers=2).open(), tmp_path, ["sleep 0"] * 2)
    log = Path(str(caught.value).partition("begun; ")[2].partition(" has what")[0])
    assert "No module named 'only_here'" in log.read_text()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_leaves_what_one_process_does(cluster: Any, stage: str, makes_the_same: Check) -> None:
    makes_the_same(stage, RaySettings(address="auto", workers=2, cpus=1).open())


def test_a_driver_that_was_killed_is_started_again(cluster: Any, tmp_path: Path) -> None:
    folder, acts = tmp_path / "ray", ["sleep 0.2"] * 12
    settings = json.dumps({"kind": "ray", "address": cluster.address, "workers": 2})
    script = [sys.executable, engine_acts.__file__, settings, str(folder), *acts]
    driver = subprocess.Popen(script, stdout=subprocess.DEVNULL)
    until(lambda: len(list(folder.glob("*.done"))) > 2)
    driver.kill()
    driver.wait()
    before = {path.name for path in folder.glob("*.done")}
    assert len(before) < 12
    assert done_by(RaySettings(address="auto", workers=2).open(), folder, acts) == digest_of(folder)
    assert digest_of(folder) == done_by(LocalExecutor(1), tmp_path / "one", ["sleep 0"] * 12)
    assert all(attempts(folder / name) == 1 for name in before)


def test_a_node_that_is_lost_costs_no_unit_and_one_that_joins_gets_work(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "ray"
    is_alive, ended = RayWorker.is_alive, list[bool]()

    def watched(worker: RayWorker) -> bool:
        found = is_alive(worker)
        ended.extend([] if found else [worker.was_taken])
        return found

    monkeypatch.setattr(RayWorker, "is_alive", watched)
    found: list[str] = []
    executor, acts = RaySettings(address="auto").open(), ["await go"] * 8
    work = threading.Thread(target=lambda: found.append(done_by(executor, folder, acts)), daemon=True)
    work.start()
    until(lambda: len(started(folder)) == 3)  # each node has one
    first = set(started(folder).values())
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    until(lambda: sum(alive(process) for process in first) == 2)
    patiently(lambda: cluster.add_node(num_cpus=1, object_store_memory=STORE))
    until(lambda: sum(alive(process) for process in started(folder).values()) == 3)
    assert ended[0]  # its machine was taken away: the unit has not failed
    (folder / "go").touch()
    work.join(120)
    assert found == [done_by(LocalExecutor(1), tmp_path / "one", ["sleep 0"] * 8)]
    assert sum(attempts(path) for path in folder.glob("*.done")) == 9
    assert not (folder / ".units").exists()


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as stream:
        return stream.read().rpartition(")")[2].split()[0] != "Z"


def test_a_cluster_that_is_started_on_the_spot_shows_what_workers_print_and_ends(tmp_path: Path) -> None:
    settings = json.dumps({"kind": "ray", "workers": 2})
    script = [sys.executable, engine_acts.__file__, settings, str(tmp_path / "ray"), *["sleep 0"] * 3]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    driver = patiently(lambda: subprocess.run(script, capture_output=True, text=True, env=environment, check=True))
    assert digest_of(tmp_path / "ray") in driver.stdout
    assert "this is " in driver.stdout + driver.stderr
    assert all(not alive(process) for process in started(tmp_path / "ray").values())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
