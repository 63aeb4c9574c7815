"""The tiny world with six captions in ten taken away, up to what stage 2 reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmkd.curation.curate import curate
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import TableSource
from mmkd.features.extract import extract
from mmkd.folders.stage import Stage, complete
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stage import measure_reliability
from mmkd.reliability.table import load_reliability
from mmkd.student.settings import StudentSettings
from mmkd.teachers.zoo.settings import ExtractSettings, TeacherSpec
from mmkd.training.loop import Place
from mmkd.training.settings.train import PretrainSettings
from mmkd.training.train import Inputs, pretrain
from stacks import write_stacked
from tiny import MACHINE, tiny_config

TEACHERS = ["narrow", "wide"]
SLOPES = {"narrow": 12.0, "wide": 5.0}
COMMON: dict[str, Any] = {"batch_size": 16, "lr": 2e-3, "checkpoint_every": 5, "log_every": 1}
PRETRAINED: dict[str, Any] = {**COMMON, "epochs": 2, "validate_every": 2}


def untold_inputs(world: Path, teachers: Sequence[TeacherSpec], folder: Path) -> Inputs:
    """The folders, with made-up slopes. world: has `pairs/pairs.csv`."""
    source = TableSource(kind="table", path=world / "pairs" / "pairs.csv")
    settings = CurateSettings(sources=[source], val=0.1, drop_captions=0.6)
    stage = Stage("corpus", folder / "corpus", {}, {}, ("data-*.arrow",))
    complete(stage, lambda partial: curate(settings, partial, MACHINE, seed=0))
    extract(teachers, ExtractSettings(batch_size=32, shard_rows=50), stage.folder, folder / "features", MACHINE)
    rank = ReliabilitySettings(method="rank")
    measured = Stage("reliability", folder / "rank", {})
    complete(
        measured, lambda partial: measure_reliability(rank, stage.folder, folder / "features", TEACHERS, partial, 0)
    )
    write_stacked(load_reliability(measured.folder), folder / "reliability", SLOPES)
    place = Place(folder / "pretrain", MACHINE, 0)
    pretrain(PretrainSettings(**PRETRAINED), StudentSettings(config=tiny_config()), stage.folder, place)
    return Inputs(folder / "pretrain", stage.folder, folder / "features", folder / "reliability", TEACHERS)
