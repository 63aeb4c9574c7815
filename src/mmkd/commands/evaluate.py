"""`mmkd evaluate`: the stage of a recipe, or any models on any data sets."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mmkd.commands.executor_options import takes_executor
from mmkd.commands.options import DryRun, Force, LeastGroups, Out, Set, open_run
from mmkd.errors import ConfigError

MODEL_HELP = (
    "A model that mmkd need not have trained, once for each: hf-hub:ORG/REPO, local-dir:FOLDER, open_clip's NAME:TAG, "
    "transformers:ID, or a name of 'mmkd teachers list'. NAME=... before it gives it a name in the tables."
)
CORRUPTIONS_HELP = (
    "Classify corrupted test pictures too: families, or 'modality' for those of the set's modality. Each costs five "
    "times the test pictures."
)
BY_MODALITY = "modality"


@takes_executor
def evaluate(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="[RECIPE]", help="The recipe whose models to evaluate.")
    ] = None,
    out: Out = None,
    changes: Set = None,
    force: Force = False,
    models: Annotated[list[str] | None, typer.Option("--model", metavar="MODEL", help=MODEL_HELP)] = None,
    datasets: Annotated[
        str, typer.Option("--datasets", metavar="A,B", help="Of the catalogue: ids, modalities, tasks, or all.")
    ] = "",
    cards: Annotated[
        list[Path] | None, typer.Option("--card", help="A data-set card of your own, once for each.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", help="Has the catalogue's data, a folder per id.")
    ] = None,
    bootstrap: Annotated[int, typer.Option("--bootstrap", min=1, help="Replicates of the intervals.")] = 5000,
    least_groups: LeastGroups = 1,
    corruptions: Annotated[str, typer.Option("--corruptions", metavar="A,B", help=CORRUPTIONS_HELP)] = "",
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    dry_run: DryRun = False,
    executor: Sequence[str] = (),
) -> None:
    """The stage of a recipe, or an evaluation of any models."""
    if (recipe is None) == (not models):
        raise ConfigError(
            "give a recipe, or models: mmkd evaluate --model MODEL --data-root DIR --datasets xray,fundus"
        )
    if recipe is not None:
        if corruptions:
            raise ConfigError("--corruptions belongs to --model; in a recipe set evaluate.corruptions")
        _of_recipe(recipe, out, [*executor, *(changes or [])], force, dry_run)
        return
    if changes:
        raise ConfigError("--set changes a recipe; with --model give --datasets, --card, --bootstrap or --seed")
    if dry_run:
        raise ConfigError("--dry-run belongs to a recipe; with --model nothing that is there is made again")
    from mmkd.evaluation.publish import Evaluation, publish_evaluation
    from mmkd.evaluation.tasks.settings import EvaluateSettings
    from mmkd.inference.model import model_spec
    from mmkd.pipeline.recipe import executor_of
    from mmkd.pipeline.run import with_paths
    from mmkd.report.run_folder import report_run
    from mmkd.settings import Machine
    from mmkd.validation import parse

    specs = [model_spec(text) for text in models or []]
    asked = {
        "cards": [path.resolve() for path in cards or []],
        "datasets": _listed(datasets),
        "data_root": data_root.resolve() if data_root else None,
        "bootstrap": bootstrap,
        "least_groups": least_groups,
        "corruptions": corruptions == BY_MODALITY or _listed(corruptions) or False,
    }
    settings = parse(EvaluateSettings, asked, "mmkd evaluate")
    folder = (out or Path("runs") / "evaluation").resolve()
    kept = partial(with_paths, change=lambda path: os.path.relpath(path, folder))
    name = ", ".join(spec.name for spec in specs)
    one = Evaluation(
        name, settings, specs, {}, Machine(device=device), seed, kept=kept, executor=executor_of(executor).open()
    )
    publish_evaluation(one, folder, force=True)  # more models or data sets only add to what is there
    print(f"report:  {report_run(folder, force=True)}")


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _of_recipe(recipe: Path, out: Path | None, changes: list[str] | None, force: bool, dry_run: bool) -> None:
    from mmkd.pipeline.work import work_one

    work_one(open_run(recipe, out, changes, force), "evaluate", dry_run)
