"""Trainings by one process or several. As a script, under torchrun: `rank_jobs.py JOBS`, one after the other."""

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from mmkd.distributed import ALONE, World, join_world
from mmkd.folders.stage import Stage, complete
from mmkd.student.settings import StudentSettings
from mmkd.training.launch import train_by
from mmkd.training.loop import Place
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.train import PretrainSettings
from mmkd.training.step import Stepper
from mmkd.training.train import Inputs, distill, pretrain
from short_runs import WEIGHTS
from tiny import MACHINE, tiny_config

Job = dict[str, Any]
"""out, settings; corpus of a stage 1, or inputs of a stage 2; machine: changes; killed_at: a step, by kill -9. Of a
stage 1, gpus: processes that the one process starts, whose logs lie in the folder `logs` beside out."""


def train(job: Job, world: World = ALONE) -> None:
    machine = MACHINE.model_copy(update=job.get("machine", {}))

    def body(folder: Path) -> Mapping[str, int]:
        if "inputs" in job:
            student, corpus, features, weights = map(Path, job["inputs"])
            inputs = Inputs(student, corpus, features, weights, ["narrow", "wide"])
            return distill(DistillSettings(**job["settings"]), inputs, Place(folder, machine, 0, None, world))
        settings, config = PretrainSettings(**job["settings"]), StudentSettings(config=tiny_config())
        place = Place(folder, machine, 0, None, world)
        logs = Path(job["out"]).with_name("logs")
        return train_by(job.get("gpus", 1), pretrain, settings, config, Path(job["corpus"]), place=place, logs=logs)

    complete(Stage("student", Path(job["out"]), job["settings"], outputs=(WEIGHTS,)), body, world=world)


def be_killed_at(step: int) -> None:
    step_of = Stepper.__call__

    def dying(self: Stepper, batch: Any, now: int) -> Any:
        if now == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return step_of(self, batch, now)

    Stepper.__call__ = dying  # type: ignore[method-assign, assignment]


def command(jobs: Sequence[Job], ranks: int) -> list[str]:
    """Of processes that train all of these."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    return [sys.executable, *launcher, __file__, json.dumps(jobs, default=str)]


if __name__ == "__main__":
    with join_world() as world:
        for job in json.loads(sys.argv[1]):
            if "killed_at" in job:
                be_killed_at(job["killed_at"])
            train(job, world)
