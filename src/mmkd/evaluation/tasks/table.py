"""The tasks by name, as cards spell them, and the one that `[evaluate] corruptions` adds."""

from typing import Any

from mmkd.evaluation.tasks import diagnosis, linear_probe, retrieval, robustness, survival, vqa, zero_shot
from mmkd.evaluation.tasks.task import Task

TASKS: dict[str, Task[Any]] = {
    "zero_shot": zero_shot.TASK,
    "linear_probe": linear_probe.TASK,
    "retrieval": retrieval.TASK,
    "vqa": vqa.TASK,
    "survival": survival.TASK,
    "diagnosis": diagnosis.TASK,
    robustness.NAME: robustness.TASK,
}
