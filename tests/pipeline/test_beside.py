"""Stages start when their own inputs are there: extraction runs beside stage 1, and a run ends in the same bits."""

from pathlib import Path
from typing import Any

import pytest
from ablation_files import write_files
from test_run_ranks import mmkd

from mmkd.commands.options import open_run
from mmkd.errors import ConfigError, TrainingError
from mmkd.folders.stage import digest_of
from mmkd.pipeline import beside
from mmkd.pipeline.beside import in_order_of_inputs
from mmkd.pipeline.run import Run
from mmkd.pipeline.table import STAGES, StageSpec
from mmkd.pipeline.work import require


class Noted:
    """In the place of another process: says when it starts and ends. ends_after: stages of this process till then."""

    def __init__(self, told: list[str], ends_after: int, problem: Exception | None = None) -> None:
        self.told, self.left, self.problem = told, ends_after, problem
        self.spec: StageSpec | None = None

    def start(self, spec: StageSpec) -> None:
        self.told.append(f"({spec.name}")
        self.spec = spec

    def is_over(self) -> bool:
        self.left -= 1
        return self.left < 0

    def finish(self) -> None:
        assert self.spec is not None
        self.told.append(f"{self.spec.name})")
        self.spec = None
        if self.problem:
            raise self.problem

    def end(self) -> None:
        self.told.append("end")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write_files(tmp_path)
    return open_run(tmp_path / "recipe.toml", tmp_path / "run", [])


AFTER = "distill evaluate report export end"


@pytest.mark.parametrize(
    ("ends_after", "order"),
    [
        (0, f"world (curate curate) specialists (extract extract) reliability pretrain {AFTER}"),
        (9, f"world (curate specialists curate) (extract pretrain extract) reliability {AFTER}"),
    ],
)
def test_extraction_runs_beside_stage_1(run: Run, ends_after: int, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(beside, "_Beside", lambda run: Noted(told, ends_after))
    in_order_of_inputs(run, lambda spec: told.append(spec.name))
    assert " ".join(told) == order


def test_what_fails_beside_ends_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(beside, "_Beside", lambda run: Noted(told, 0, TrainingError("no teacher")))
    with pytest.raises(TrainingError, match="no teacher"):
        in_order_of_inputs(run, lambda spec: told.append(spec.name))
    assert told == ["world", "(curate", "curate)", "end"]


def test_what_fails_here_ends_what_runs_beside(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def work(spec: StageSpec) -> None:
        if spec.name == "pretrain":
            raise ConfigError("no student")

    monkeypatch.setattr(beside, "_Beside", lambda run: Noted(told, 9))
    with pytest.raises(ConfigError, match="no student"):
        in_order_of_inputs(run, work)
    assert told == ["(curate", "curate)", "(extract", "end"]


def test_a_stage_needs_what_it_reads_and_no_more(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"pretrain needs .*world, which is not finished; run 'mmkd world' first"):
        require(run, "pretrain")
    STAGES["world"].work(run)
    with pytest.raises(ConfigError, match=r"pretrain needs .*corpus, which is not finished; run 'mmkd curate' first"):
        require(run, "pretrain")
    STAGES["curate"].work(run)
    require(run, "pretrain")  # without specialists and features
    with pytest.raises(ConfigError, match=r"distill needs .*specialists/one, which is not finished"):
        require(run, "distill")


@pytest.mark.slow
def test_a_whole_run_by_two_workers_ends_in_the_bits_of_one(finished_run: tuple[Path, Any], tmp_path: Path) -> None:
    recipe, _ = finished_run
    done = mmkd(1, "run", recipe, "--out", tmp_path, "--executor", "local", "--workers", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    trained = "specialists/one", "specialists/two", "pretrain", "rivals/other", "distill"
    for name in ("corpus", "features/one", "features/given", "reliability", "evaluate", *trained):
        assert digest_of(tmp_path / name) == digest_of(recipe.parent / "run" / name), name
    assert not list(tmp_path.rglob(".units"))
    assert [done.stdout.count(f"{stage}: 2 trainings are handed out") for stage in ("specialists", "distill")] == [1, 1]
