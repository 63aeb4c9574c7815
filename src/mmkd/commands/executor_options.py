"""The options of commands whose work an executor hands out. Nothing heavy is imported here."""

import inspect
import json
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

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


def takes_executor(command: Callable[..., None]) -> Callable[..., None]:
    """The command with these options, which it gets as `executor`: changes of a recipe, `executor.KEY=VALUE`.

    With --executor the recipe's own `[executor]` does not count: its keys may be those of another one.
    """

    @wraps(command)
    def with_options(*args: Any, **options: Any) -> None:
        given = {name: options.pop(name, None) for name in OPTIONS}
        kind = given.pop("executor")
        changes = [f"executor={{kind = {json.dumps(kind)}}}"] if kind else []
        changes += [f"executor.{name}={json.dumps(value)}" for name, value in given.items() if value is not None]
        command(*args, **options, executor=changes)

    own = inspect.signature(command, eval_str=True)
    kept = [one for name, one in own.parameters.items() if name != "executor"]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in OPTIONS.items()
    ]
    with_options.__signature__ = own.replace(parameters=[*kept, *more])  # type: ignore[attr-defined]
    del with_options.__wrapped__  # the command line wraps what has none
    return with_options
