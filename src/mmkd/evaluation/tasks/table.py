"""The tasks by name, as cards spell them."""

from mmkd.evaluation.tasks import retrieval, zero_shot
from mmkd.evaluation.tasks.task import Task

TASKS: dict[str, Task] = {
    "zero_shot": zero_shot.TASK,
    "retrieval": retrieval.TASK,
}
