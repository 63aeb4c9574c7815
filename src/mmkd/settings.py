"""The base of every recipe section: frozen, typed, and closed to unknown keys."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveFloat,
    StringConstraints,
    ValidationInfo,
)


class Settings(BaseModel):
    """One section of a recipe. Unknown keys are errors; values never change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def overlaid(base: Any, top: Any) -> Any:
    """Tables are merged key by key; anything else of `top` replaces what `base` has."""
    if not (isinstance(base, Mapping) and isinstance(top, Mapping)):
        return top
    return {**base, **{key: overlaid(base.get(key), value) for key, value in top.items()}}


def _beside_the_recipe(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base")
    return path if base is None or path.is_absolute() else (Path(base) / path).resolve()


MOST_LOADERS = 16  # unless a recipe says more: each loader has whole batches ready, so they cost memory

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Name = Annotated[str, StringConstraints(pattern=NAME, max_length=100)]
"""Of what a recipe makes: a folder is called so, which stays where it belongs."""

RecipePath = Annotated[Path, AfterValidator(_beside_the_recipe)]
"""A path in a recipe or card: relative ones are relative to the file they stand in."""


class Machine(Settings):
    """Where a run happens. Nothing here changes a result, so stages do not compare it when they resume.

    device: "auto" takes a GPU where there is one. workers: processes that decode images (0: none; not given: one for
    each processor that this process may use, shared among the processes that torchrun started on the machine; where
    they hold whole batches, at most MOST_LOADERS). threads: of torch in the main process (0: torch decides).
    decoded_cache_mb: images of a training corpus are kept decoded when all of them fit into this; otherwise they are
    decoded again at each step.

    These change training up to rounding only. micro_batch: pairs that go through the student at once (0: all of a
    process's); the loss is still that of the whole batch (GradCache, arXiv 2101.06983). grad_checkpointing:
    activations are computed again instead of kept. compile: `torch.compile` the towers. sharding: `ddp` copies the
    student to every process, `fsdp` shares its weights out. tflops: bf16 peak of one device, of which the records tell
    the share that is used; common GPUs are known. track: other places that get the metrics, which are always in
    metrics.jsonl.
    """

    device: str = "auto"
    workers: NonNegativeInt | None = None
    threads: int = 0
    decoded_cache_mb: int = 1024
    micro_batch: NonNegativeInt = 0
    grad_checkpointing: bool = False
    compile: bool = False
    sharding: Literal["ddp", "fsdp"] = "ddp"
    tflops: PositiveFloat | None = None
    track: list[Literal["tensorboard", "wandb"]] = []

    @property
    def processes(self) -> int:
        """Worker processes that hold a record at a time."""
        return own_processors() if self.workers is None else self.workers

    @property
    def loaders(self) -> int:
        """Worker processes or threads that hold whole batches."""
        return min(own_processors(), MOST_LOADERS) if self.workers is None else self.workers


def own_processors() -> int:
    """This process's share of the processors that it may use; torchrun says how many share them."""
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
