"""The base of every recipe section: frozen, typed, and closed to unknown keys."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    model_validator,
)


class Settings(BaseModel):
    """One section of a recipe. Unknown keys are errors; values never change after loading.

    `true` is no number, and numbers are finite.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, data: Any) -> Any:
        """Where a number is wanted, true becomes a word, which pydantic then refuses in its place."""
        if not isinstance(data, Mapping):
            return data
        fields = {field.alias or name: _kinds(field.annotation) for name, field in cls.model_fields.items()}
        wanted = {key for key, kinds in fields.items() if {int, float} & kinds and bool not in kinds}
        return {key: _spelt(value) if key in wanted else value for key, value in data.items()}


def _spelt(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_spelt(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _spelt(one) for key, one in value.items()}
    return str(value).lower() if isinstance(value, bool) else value


def _kinds(annotation: Any) -> set[type]:
    """The types that an annotation is put together from."""
    inner = get_args(annotation)
    return (
        {annotation} if isinstance(annotation, type) and not inner else {kind for one in inner for kind in _kinds(one)}
    )


def overlaid(base: Any, top: Any) -> Any:
    """Tables are merged key by key; anything else of `top` replaces what `base` has."""
    if not (isinstance(base, Mapping) and isinstance(top, Mapping)):
        return top
    return {**base, **{key: overlaid(base.get(key), value) for key, value in top.items()}}


URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def no_url(value: Any) -> Any:
    """The value. Raises ValueError for a URL."""
    if isinstance(value, str) and URL.match(value):
        raise ValueError(
            "expected a path, found a URL: files by URL are read by sources of the kinds table and webdataset only; "
            "download what it names and give the path"
        )
    return value


def _beside_the_recipe(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base")
    return path if base is None or path.is_absolute() else (Path(base) / path).resolve()


MOST_LOADERS = 16  # unless a recipe says more: each loader has whole batches ready, so they cost memory

LONGEST_NAME = 100


def _name(text: str) -> str:
    if len(text) <= LONGEST_NAME and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        return text
    raise ValueError(
        f"expected a letter or digit, then letters, digits, dots, underscores and hyphens, {LONGEST_NAME} at most; "
        f"found {text[:LONGEST_NAME]!r}"
    )


Name = Annotated[str, AfterValidator(_name)]
"""Of what a recipe makes: a folder is called so, which stays where it belongs."""

RecipePath = Annotated[Path, BeforeValidator(no_url), AfterValidator(_beside_the_recipe)]
"""A path in a recipe or card, no URL: relative ones are relative to the file they stand in."""


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name):
        raise ValueError(f"expected auto, cpu, cuda or cuda:N, found {name!r}")
    return name


class Machine(Settings):
    """Where a run happens. Nothing here changes a result, so stages do not compare it when they resume.

    device: "auto" takes a GPU where there is one. workers: processes that decode images (0: none; not given: one for
    each processor that this process may use, shared among the processes that torchrun started on the machine; where
    they hold whole batches, at most MOST_LOADERS). threads: of torch in the main process (0: torch decides; trainings
    that run at the same time share the processors). decoded_cache_mb: images of a training corpus are kept decoded when
    all of them fit into this; otherwise they are decoded again at each step.

    These change training up to rounding only. gpus: of this machine, on which `pretrain` and `distill` train, in a
    process for each that they start; with device "cpu", the number of processes. micro_batch: pairs that go through the
    student at once (0: all of a process's); the loss is still that of the whole batch (GradCache, arXiv 2101.06983).
    grad_checkpointing: activations are computed again instead of kept. compile: `torch.compile` the towers. sharding:
    `ddp` copies the student to every process, `fsdp` shares its weights out. tflops: bf16 peak of one device, of which
    the records tell the share that is used; common GPUs are known. track: other places that get the metrics, which are
    always in metrics.jsonl.
    """

    device: Annotated[str, AfterValidator(_device)] = "auto"
    workers: NonNegativeInt | None = None
    threads: NonNegativeInt = 0
    decoded_cache_mb: NonNegativeInt = 1024
    gpus: PositiveInt = 1
    micro_batch: NonNegativeInt = 0
    grad_checkpointing: bool = False
    compile: bool = False
    sharding: Literal["ddp", "fsdp"] = "ddp"
    tflops: PositiveFloat | None = None
    track: list[Literal["tensorboard", "wandb"]] = []

    @model_validator(mode="after")
    def _one_device_for_one(self) -> "Machine":
        if self.gpus > 1 and ":" in self.device:
            raise ValueError(f'gpus is {self.gpus}, but device "{self.device}" is one GPU; set device to auto or cuda')
        return self

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
