"""Every objective in the table, every kind of target and weighting as a stage: it trains, and resumes to the bit."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import save
from mmkd.training.experimental.targets import load_targets
from mmkd.training.loop import Place
from mmkd.training.objectives.objective import Objective
from mmkd.training.settings.distill import DistillSettings, MmkdSettings
from mmkd.training.settings.tables import OBJECTIVES
from mmkd.training.targets.frozen_targets import TARGETS
from mmkd.training.train import Inputs, distill
from mmkd.training.train import train as train_stage
from repetitions import repetitions
from tiny import MACHINE

WEIGHTS = "open_clip_model.safetensors"
QUICK = MmkdSettings(autoencoder_epochs=1)
CASES: dict[str, dict[str, Any]] = {name: {"objective": name, "weighting": "everyone"} for name in OBJECTIVES} | {
    "every term": {
        "objective": "affinity",
        "weighting": "everyone",
        "contrastive": 0.3,
        "terms": {"heads": 1.0, "interactive": 0.5, "relational": 1.0, "stacked": 0.5},
    },
    "phi-s": {"objective": "heads", "targets": "phi-s", "head_loss": "smooth_l1", "weighting": "uncertainty"},
    "autoencoder": {"objective": "heads", "targets": "autoencoder", "weighting": "dropping"},
    "linear": {"objective": "mmkd", "mmkd": {"projection": "linear", "gate_top": 1.0}},
    "confidence": {"objective": "affinity", "weighting": "confidence", "pairwise": "sigmoid", "contrastive": 0.5},
}


@pytest.fixture(scope="module")
def inputs(
    tiny_corpus: Path,
    tiny_features: Path,
    tiny_stacks: Path,
    tiny_student: StudentSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Inputs:
    folder = tmp_path_factory.mktemp("begun")
    save(build_student(tiny_student, 0), folder / "student")
    return Inputs(folder / "student", tiny_corpus, tiny_features, tiny_stacks, ["narrow", "wide"])


class KilledError(Exception):
    """Stands in for a kill in the middle of a step."""


def train(name: str, inputs: Inputs, folder: Path) -> dict[str, torch.Tensor]:
    common = {"epochs": 1, "batch_size": 16, "lr": 1e-3, "checkpoint_every": 2, "log_every": 1}
    settings = DistillSettings.model_validate({"mmkd": QUICK, **CASES[name], **common})
    distill(settings, inputs, Place(folder, MACHINE, 3))
    return load_file(folder / WEIGHTS)


@pytest.mark.parametrize("name", repetitions(CASES, fast=["mmkd", "phi-s"]))
def test_it_trains_and_resumes_to_the_bit(
    name: str, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(name, inputs, tmp_path / "whole")
    before = load_file(inputs.student / WEIGHTS)
    assert any(not torch.equal(whole[key], before[key]) for key in whole)
    left = 4  # the newest checkpoint is of step 2 or 4
    call = Objective.__call__

    def dying(self: Objective, *args: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError
        return call(self, *args)

    monkeypatch.setattr(Objective, "__call__", dying)
    with pytest.raises(KilledError):
        train(name, inputs, tmp_path / "cut")
    monkeypatch.setattr(Objective, "__call__", call)
    kept = (tmp_path / "cut" / TARGETS).read_bytes() if CASES[name].get("objective") != "contrastive" else b""
    resumed = train(name, inputs, tmp_path / "cut")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    if kept:
        assert (tmp_path / "cut" / TARGETS).read_bytes() == kept == (tmp_path / "whole" / TARGETS).read_bytes()


def test_targets_are_fitted_where_the_teacher_is_trusted_and_read_when_they_are_there(
    inputs: Inputs, tmp_path: Path
) -> None:
    train("phi-s", inputs, tmp_path / "run")
    found = load_targets(tmp_path / "run" / TARGETS, ["narrow", "wide"])
    assert [target.width for target in found] == [8, 24]
    assert all(target.map_DE is not None for target in found)
    train("linear", inputs, tmp_path / "linear")
    assert [target.width for target in load_targets(tmp_path / "linear" / TARGETS, ["narrow", "wide"])] == [16, 16]
    # another objective's targets in the folder are what a resumed run goes on with
    again = tmp_path / "again"
    again.mkdir()
    (again / TARGETS).write_bytes((tmp_path / "run" / TARGETS).read_bytes())
    train("heads", inputs, again)
    assert (again / TARGETS).read_bytes() == (tmp_path / "run" / TARGETS).read_bytes()


@pytest.mark.parametrize(("objective", "expected"), [("mmkd", False), ("mmkd-fixed", True), ("affinity", True)])
def test_only_the_reference_as_it_is_reads_the_pairs_in_file_order(
    objective: str, expected: bool, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuffled: list[bool] = []

    def recorded(*values: Any, **named: Any) -> None:
        shuffled.append(inspect.signature(train_stage).bind(*values, **named).arguments["shuffle"])

    monkeypatch.setattr("mmkd.training.train.train", recorded)
    settings = DistillSettings.model_validate({"objective": objective, "mmkd": {"projection": "linear"}})
    distill(settings, inputs, Place(tmp_path, MACHINE, 0))
    assert shuffled == [expected]
