"""Records survive kills and repeated steps, are JSON whatever the numbers, and go where the recipe says."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.errors import ConfigError, DataError
from mmkd.settings import Machine
from mmkd.training.records import metrics_log
from mmkd.training.records.metrics_log import METRICS, TRACKERS, WANDB_RUN, MetricsLog, check_tracking, read_metrics


def logged(folder: Path, first: int, steps: range, **more: Any) -> list[float | None]:
    log = MetricsLog(folder, first, **more)
    for step in steps:
        log.write({"step": step, "loss": 1.0 / step})
    log.close()
    return [record["step"] for record in read_metrics(folder / METRICS)]


def test_a_resume_drops_the_records_of_steps_that_are_repeated(tmp_path: Path) -> None:
    assert logged(tmp_path, 0, range(1, 8)) == [1, 2, 3, 4, 5, 6, 7]
    before = read_metrics(tmp_path / METRICS)
    assert logged(tmp_path, 4, range(5, 10)) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert read_metrics(tmp_path / METRICS)[:7] == before
    assert logged(tmp_path, 0, range(1, 3)) == [1, 2]


def test_a_record_that_the_disk_has_no_room_for_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0)
    log.write({"step": 1, "loss": 0.5})
    before = log.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 7, limits[1]))  # room for a part of a record
    try:
        with pytest.raises(OSError, match="too large"):
            log.write({"step": 2, "loss": 0.25})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert log.path.read_bytes() == before
    log.write({"step": 2, "loss": 0.25})
    assert [record["step"] for record in read_metrics(log.path)] == [1, 2]


@given(st.integers(0, 80))
def test_a_line_that_a_kill_cut_off_anywhere_is_left_out(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / METRICS
    line = json.dumps({"step": 1, "loss": 0.5}) + "\n"
    path.write_text((3 * line)[:cut])
    whole = cut // len(line) + (cut % len(line) == len(line) - 1)  # all but its newline is a whole record
    assert len(read_metrics(path)) == min(whole, 3)


@pytest.mark.parametrize("line", ["{", "[1]", '{"loss": 1}', "\x00"])
def test_damage_in_the_middle_is_an_error_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / METRICS).write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2: expected a JSON object with step"):
        MetricsLog(tmp_path, 2)


@given(st.dictionaries(st.text(max_size=5), st.floats() | st.integers(), max_size=4), st.integers(1, 10**9))
def test_every_record_is_strict_json_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, float], step: int
) -> None:
    folder = tmp_path_factory.mktemp("strict")
    log = MetricsLog(folder, 0)
    log.write({**values, "step": step})
    log.close()

    def refuse(name: str) -> None:
        raise AssertionError(name)

    read = json.loads((folder / METRICS).read_text(), parse_constant=refuse)
    finite = {key: value if abs(value) < float("inf") else None for key, value in values.items()}
    assert read == {**finite, "step": step}
    assert read_metrics(folder / METRICS) == [read]


def test_every_switch_of_the_recipe_has_a_tracker() -> None:
    assert Machine(track=list(TRACKERS)).track == list(TRACKERS)
    assert Machine().track == []


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_is_said_before_anything_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_log, "find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=rf"machine\.track names {name}, .* pip install 'mmkd\[track\]'"):
        MetricsLog(tmp_path, 0, [name], "mine")
    assert list(tmp_path.iterdir()) == []
    check_tracking([])


def test_tensorboard_hides_the_steps_that_are_repeated(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged(tmp_path, 0, range(1, 8), track=["tensorboard"])
    logged(tmp_path, 4, range(5, 10), track=["tensorboard"])
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 10))
    assert events.Tags()["scalars"] == ["loss"]


class Service:
    """Stands in for the package wandb, so that no process is started; keeps what it is told."""

    def __init__(self) -> None:
        self.runs: dict[str, list[tuple[int, dict[str, float]]]] = {}
        self.begun: list[dict[str, Any]] = []
        self.finished = 0

    def init(self, **settings: Any) -> SimpleNamespace:
        self.begun.append(settings)
        rows = self.runs.setdefault(settings["id"], [])
        return SimpleNamespace(log=lambda values, step: rows.append((step, values)), finish=self._finish)

    def _finish(self) -> None:
        self.finished += 1


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    found = Service()
    monkeypatch.setitem(sys.modules, "wandb", found)  # type: ignore[misc]
    monkeypatch.setattr(metrics_log, "find_spec", lambda module: object())
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return found


def test_a_resumed_training_is_the_same_run_of_weights_and_biases(tmp_path: Path, service: Service) -> None:
    logged(tmp_path, 0, range(1, 4), track=["wandb"], name="mine")
    logged(tmp_path, 2, range(3, 6), track=["wandb"], name="mine")
    (run_id, rows), *others = service.runs.items()
    assert not others
    assert json.loads((tmp_path / WANDB_RUN).read_text()) == {"id": run_id}
    assert [step for step, _ in rows] == [1, 2, 3, 3, 4, 5]
    assert rows[0][1] == {"loss": 1.0}
    assert [(one["project"], one["name"], one["resume"]) for one in service.begun] == [("mmkd", "mine", "allow")] * 2
    assert service.finished == 2


def test_another_folder_is_another_run_and_the_environment_may_name_the_project(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        logged(tmp_path / name, 0, range(1, 2), track=["wandb"])
    assert len(service.runs) == 2
    assert [one["project"] for one in service.begun] == [None, None]


def test_trackers_get_finite_numbers_only(tmp_path: Path, service: Service) -> None:
    log = MetricsLog(tmp_path, 0, ["wandb"])
    log.write({"step": 1, "loss": float("nan"), "lr": 0.1})
    log.close()
    assert list(service.runs.values()) == [[(1, {"lr": 0.1})]]


OFFLINE = """
import sys
from pathlib import Path
from mmkd.training.records.metrics_log import MetricsLog
for first in (0, 2):
    log = MetricsLog(Path(sys.argv[1]), first, ["wandb"], "mine")
    log.write({"step": first + 1, "loss": 0.5})
    log.close()
"""


def test_weights_and_biases_works_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    subprocess.run([sys.executable, "-c", OFFLINE, str(tmp_path)], check=True, env=environment, timeout=120)
    run_id = json.loads((tmp_path / WANDB_RUN).read_text())["id"]
    assert {path.name for path in tmp_path.glob("wandb/offline-run-*/*.wandb")} == {f"run-{run_id}.wandb"}
    assert [record["step"] for record in read_metrics(tmp_path / METRICS)] == [1, 3]
