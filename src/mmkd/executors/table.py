"""The executors that a recipe's `[executor]` may name; a new one is a file beside this one and a line here."""

from typing import Annotated

from pydantic import Field

from mmkd.executors.local import LocalSettings
from mmkd.executors.ray import RaySettings
from mmkd.executors.slurm import SlurmSettings

AnyExecutor = Annotated[LocalSettings | RaySettings | SlurmSettings, Field(discriminator="kind")]
