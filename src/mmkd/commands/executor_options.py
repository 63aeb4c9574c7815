"""The options of commands whose work an executor hands out. Nothing heavy is imported here."""

import inspect
import json
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmkd.distributed import processes
from mmkd.errors import ConfigError

if TYPE_CHECKING:
    from mmkd.executors.executor import Executor

WORKERS = "workers"
OPTIONS = {
    "executor": Annotated[
        str | None,
        typer.Option(
            "--executor", metavar="NAME", help="Who hands out the work: local, ray or slurm. [default: local]"
        ),
    ],
    "workers": Annotated[int | None, typer.Option("--workers", min=1, help="Workers of the executor at a time.")],
    "address": Annotated[
        str | None, typer.Option("--address", help="Of the Ray cluster: auto, or HOST:PORT of its head node.")
    ],
    "partition": Annotated[str | None, typer.Option("--partition", help="Of Slurm.")],
    "array_parallelism": Annotated[
        int | None, typer.Option("--array-parallelism", min=1, help="Array tasks of Slurm at a time.")
    ],
}
"""Of the command line: the more usual keys of a recipe's `[executor]`; `--set executor.KEY=VALUE` sets any."""


ExecutorSet = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="executor.KEY=VALUE", help="Another key of the executor, such as executor.gpus=1."),
]
"""Of commands without a recipe."""


def takes_executor(command: Callable[..., None]) -> Callable[..., None]:
    """The command with these options, which it gets as `executor`: changes of a recipe, `executor.KEY=VALUE`.

    With --executor the recipe's own `[executor]` does not count: its keys may be those of another one. A command that
    has an option `workers` of its own gets that without --executor, and 0 with it.
    """
    own = inspect.signature(command, eval_str=True)
    added = {name: kind for name, kind in OPTIONS.items() if name not in own.parameters or name == "executor"}

    @wraps(command)
    def with_options(*args: Any, **options: Any) -> None:
        given = {name: options.pop(name, None) for name in added}
        kind = given.pop("executor")
        if kind and WORKERS not in added:
            given[WORKERS], options[WORKERS] = options.get(WORKERS) or None, 0
        changes = [f"executor={{kind = {json.dumps(kind)}}}"] if kind else []
        changes += [f"executor.{name}={json.dumps(value)}" for name, value in given.items() if value is not None]
        command(*args, **options, executor=changes)

    kept = [one for name, one in own.parameters.items() if name != "executor"]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in added.items()
    ]
    with_options.__signature__ = own.replace(parameters=[*kept, *more])  # type: ignore[attr-defined]
    del with_options.__wrapped__  # the command line wraps what has none
    return with_options


def executor_for(changes: Sequence[str]) -> "Executor | None":
    """Of a command without a recipe; None without options. Raises ConfigError for what is none, and under torchrun."""
    if not changes:
        return None
    if processes() > 1:
        raise ConfigError(
            f"torchrun has started {processes()} processes, which share the work by themselves; leave out --executor"
        )
    from mmkd.pipeline.recipe import executor_of

    return executor_of(changes).open()
