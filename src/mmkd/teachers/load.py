"""From a spec to a loaded teacher: one adapter per library."""

from collections.abc import Callable

import torch

from mmkd.errors import ModelError
from mmkd.teachers.open_clip_teacher import OpenClipTeacher
from mmkd.teachers.settings import TeacherSpec
from mmkd.teachers.spec import Teacher
from mmkd.teachers.transformers_teacher import TransformersTeacher

ADAPTERS: dict[str, Callable[[TeacherSpec, torch.device], Teacher]] = {
    "open_clip": OpenClipTeacher,
    "transformers": TransformersTeacher,
}


def load_teacher(spec: TeacherSpec, device: torch.device) -> Teacher:
    """The teacher, frozen, in evaluation mode, on the device. Raises ModelError that says what is missing."""
    if spec.library not in ADAPTERS:
        raise ModelError(f"teacher {spec.name!r} has stored features only (library {spec.library!r}); it cannot be run")
    return ADAPTERS[spec.library](spec, device)
