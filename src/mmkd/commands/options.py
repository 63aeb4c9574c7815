"""Options that several commands share, and the run that they open. Nothing heavy is imported here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.distributed import processes
from mmkd.errors import ConfigError
from mmkd.pipeline.shipped import SHIPPED, recipe_file

if TYPE_CHECKING:
    from mmkd.pipeline.run import Run

LOCAL = "local"  # the executor that torchrun's processes may each have
RecipeFile = Annotated[
    Path, typer.Argument(metavar="RECIPE", help=f"A TOML file, or a recipe of mmkd's own: {', '.join(SHIPPED)}.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the run. [default: runs/<recipe's file name>]")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one value of the recipe.")
]
Force = Annotated[bool, typer.Option("--force", help="Make stages anew whose recipe or inputs have changed.")]
Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        min=1,
        help="GPUs of this machine to train on, a process each; with machine.device=cpu, processes. [default: 1]",
    ),
]
LeastGroups = Annotated[
    int, typer.Option("--least-groups", min=1, help="Groups (patients) that a data set needs to count in the means.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what is finished, would be made or be refused, and stop.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def open_run(
    recipe: Path, out: Path | None, changes: list[str] | None, force: bool = False, parallel: bool = False
) -> "Run":
    """The run of a recipe. parallel: whether the command shares its work among the processes of torchrun."""
    from mmkd.pipeline.recipe import load_recipe
    from mmkd.pipeline.run import Run

    if processes() > 1 and not parallel:
        from mmkd.pipeline.table import STAGES

        shared = ", ".join(spec.name for spec in STAGES.values() if spec.parallel)
        raise ConfigError(
            "torchrun started several processes, but this command works in one (several share the work of run, "
            f"{shared}); start it without torchrun"
        )
    folder = (out or Path("runs") / recipe.stem).resolve()
    loaded = load_recipe(recipe_file(recipe), folder, changes or [])
    if processes() > 1 and loaded.executor.kind != LOCAL:
        raise ConfigError(
            f"torchrun started several processes, which share the work by themselves, and executor is "
            f"{loaded.executor.kind!r}; start the command without torchrun, or with --executor local"
        )
    if processes() > 1 and loaded.machine.gpus > 1:
        raise ConfigError(
            f"torchrun started several processes, and machine.gpus is {loaded.machine.gpus}, for which the command "
            "starts processes itself; leave out one of the two"
        )
    return Run(loaded, folder, force)


def of_gpus(gpus: int | None) -> list[str]:
    """`--gpus` as changes of a recipe."""
    return [] if gpus is None else [f"machine.gpus={gpus}"]
