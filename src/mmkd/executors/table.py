"""The executors that a recipe's `[executor]` may name; a new one is a file beside this one and a line here."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mmkd.executors.local import LocalSettings
from mmkd.executors.ray import RaySettings
from mmkd.executors.slurm import SlurmSettings


def _local_unless_said(value: Any) -> Any:
    return {"kind": "local", **value} if isinstance(value, Mapping) and "kind" not in value else value


AnyExecutor = Annotated[
    LocalSettings | RaySettings | SlurmSettings, Field(discriminator="kind"), BeforeValidator(_local_unless_said)
]
