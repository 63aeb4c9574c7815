"""`mmkd plan`: what a recipe will cost on a given machine."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.commands.options import Json, Out, RecipeFile, Set, open_run
from mmkd.errors import ConfigError

if TYPE_CHECKING:
    from mmkd.pipeline.cost import RunPlan

TFLOPS_HELP = "Peak of one GPU in the precision of training. [default: the recipe's machine.tflops]"
TOKENS_HELP = "Mean length of a caption. [default: as in the corpus]"


def plan(
    recipe: RecipeFile,
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="How many, one process each.")] = 1,
    tflops: Annotated[float | None, typer.Option("--tflops", min=0.001, help=TFLOPS_HELP)] = None,
    mfu: Annotated[float, typer.Option("--mfu", min=0.01, max=1.0, help="Share of the peak that is reached.")] = 0.4,
    memory: Annotated[float, typer.Option("--memory", min=0.1, help="GB of one GPU.")] = 80.0,
    pairs: Annotated[
        int | None, typer.Option("--pairs", min=1, help="Of the corpus. [default: as many as it has]")
    ] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, help=TOKENS_HELP)] = None,
    out: Out = None,
    changes: Set = None,
    as_json: Json = False,
) -> None:
    """Say what a recipe needs before it is run: steps, operations, hours, memory, storage. Needs no weights."""
    from mmkd.pipeline.cost import plan_run
    from mmkd.training.plan import Hardware

    work = open_run(recipe, out, changes)
    peak = tflops or work.recipe.machine.tflops
    if peak is None:
        raise ConfigError("how fast is a GPU? Give --tflops, or set machine.tflops in the recipe (H100 and H200: 989)")
    found = plan_run(work, recipe, Hardware(gpus, peak, mfu, memory), pairs, tokens)
    print(json.dumps(asdict(found), indent=1)) if as_json else _print(found)


def _print(found: "RunPlan") -> None:
    hardware, data = found.hardware, found.data
    print(
        f"{found.recipe}: {data.pairs:,} pairs ({data.train:,} to train on), {hardware.gpus} x {hardware.tflops:g} "
        f"TFLOP/s at {100 * hardware.mfu:g} %\n"
    )
    _operations(found)
    _time(found)
    _memory(found)
    stored = ", ".join(f"{name} {_amount(size)} GB" for name, size in found.storage.items())
    print(f"storage: {stored}; {_amount(sum(found.storage.values()))} GB in all\n")
    print("assumed:\n" + "\n".join(f"  - {line}" for line in found.assumptions))
    print("\nrun:\n" + "\n".join(f"  {line}" for line in found.commands))


def _amount(value: float, decimals: int = 1) -> str:
    """With so many decimals; what would be 0 by them has one digit that is not."""
    return f"{value:.1g}" if 0 < value < 0.5 * 10**-decimals else f"{value:,.{decimals}f}"


def _operations(found: "RunPlan") -> None:
    student = found.student
    rows = [[one.name, str(one.dim), _amount(one.gflop)] for one in found.teachers]
    rows.append(
        [
            "all teachers, as teachers_concat and teachers_stack run them",
            "",
            _amount(sum(one.gflop for one in found.teachers)),
        ]
    )
    rows.append(["student: image", str(student.dim), _amount(student.image_gflop)])
    rows.append([f"student: caption of {student.tokens} tokens", "", _amount(student.text_gflop)])
    if student.context != student.tokens:
        rows.append([f"student: caption of {student.context} tokens", "", _amount(student.context_gflop)])
    _table(["forward pass", "dimension", "GFLOP a pair"], rows)


def _time(found: "RunPlan") -> None:
    teachers = sum(one.gflop for one in found.teachers)
    rows = [["extract", "", f"{found.data.pairs:,}", _amount(teachers), "", _amount(found.extraction_hours, 2)]]
    for one in found.stages:
        share = f"{100 * one.loss_gflop / one.gflop:.1f} %"
        rows.append([one.name, f"{one.steps:,}", f"{one.pairs:,}", _amount(one.gflop), share, _amount(one.hours, 2)])
    rows += _evaluation(found)
    total = found.extraction_hours + sum(one.hours for one in found.stages) + found.evaluation.hours
    rows.append(["all", "", "", "", "", _amount(total, 2)])
    _table(["stage", "steps", "pairs or pictures", "GFLOP of one", "of it losses", "hours"], rows)


def _evaluation(found: "RunPlan") -> list[list[str]]:
    """The pictures as they are, and what corruptions add to them."""
    plan = found.evaluation
    clean = (plan.pictures, plan.gflop - plan.corrupted_gflop, plan.hours - plan.corrupted_hours)
    corrupted = (plan.corrupted, plan.corrupted_gflop, plan.corrupted_hours)
    return [
        [name, "", f"{pictures:,}", _amount(gflop / pictures), "", _amount(hours, 2)]
        for name, (pictures, gflop, hours) in (("evaluate", clean), ("evaluate: corrupted", corrupted))
        if pictures
    ]


def _memory(found: "RunPlan") -> None:
    rows = []
    for one in found.memory:
        plain, recomputed = found.micro_batch[one.name]
        numbers = [_amount(value) for value in (one.states, one.activations, one.logits, one.total)]
        rows.append([one.name, *numbers, "yes" if one.fits else "no", f"{plain:,}", f"{recomputed:,}"])
    columns = ["GB of a GPU", "states", "activations", "logits", "sum", f"fits {found.hardware.memory_gb:g} GB"]
    _table([*columns, "largest micro_batch", "with grad_checkpointing"], rows)


def _table(columns: list[str], rows: list[list[str]]) -> None:
    from rich.table import Table

    from mmkd.progress import console

    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    console(len(columns)).print(table)
