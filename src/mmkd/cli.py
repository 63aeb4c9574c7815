"""The command line. Heavy libraries load inside the commands, so that `mmkd --help` answers at once."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from mmkd.commands import (
    ablate,
    compare,
    corpus,
    curate,
    datasets,
    evaluate,
    evidence,
    extract,
    features,
    plan,
    report,
    runs,
    teachers,
)
from mmkd.commands.options import Force, Json, Out, RecipeFile, Set, open_run
from mmkd.errors import MmkdError

HELP = (
    "Turn many biomedical CLIP teachers into one student that is better than each of them, and prove it.\n\n"
    "A recipe (TOML) names image-caption pairs, teachers and the student. `mmkd run RECIPE` does everything: it "
    "curates the pairs, extracts every teacher's features once, measures whom to trust about what, pretrains the "
    "student (stage 1), distils the teachers into it (stage 2), evaluates all of them, writes a report and exports the "
    "student for open_clip. Each stage is also a command of its own.\n\n"
    "A finished stage is skipped, one that was cut off goes on, and one whose recipe or inputs changed is refused "
    "unless --force. Start with `mmkd run recipes/demo.toml`.\n\n"
    "Exit codes: 0 done, 2 something you can mend (the message says what), 1 a defect of mmkd."
)

app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    recipe: RecipeFile,
    out: Out = None,
    changes: Set = None,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done and stop.")] = False,
) -> None:
    """Run every stage of a recipe, in order."""
    from mmkd.pipeline import stages as flow
    from mmkd.pipeline.preflight import preflight
    from mmkd.pipeline.run import folders, status
    from mmkd.progress import say

    work = open_run(recipe, out, changes, force)
    if dry_run:
        for stage, names in folders(work).items():
            for folder in names:
                say(f"{stage:12s} {status(folder):9s} {folder}")
        return
    start = time.perf_counter()
    preflight(work)
    published = folders(work)
    for name, body in flow.STAGES.items():
        if not published[name]:
            continue  # a stage that the recipe has no use for
        begun = time.perf_counter()
        body(work)
        say(f"[{time.perf_counter() - start:6.0f} s] {name} took {time.perf_counter() - begun:.1f} s")
    say(f"student: {work.out / 'export'}\nreport:  {work.out / 'report' / 'index.html'}")


SHARED = ("pretrain", "distill")  # by torchrun's processes; extract has a command of its own
STAGE_HELP = {
    "world": "Write the embedded synthetic world (recipes that have a phantom section).",
    "specialists": "Train the recipe's own small teachers (recipes that have specialists).",
    "calibrate": "Measure how far each teacher can be trusted on which modality, and print the table.",
    "pretrain": "Stage 1: train the student on the captions.",
    "distill": "Stage 2: distil the teachers into the student; train the rivals it is compared with.",
    "export": "Write the student as an open_clip folder with a model card, checked against the original.",
}


def _add_stage(name: str) -> None:
    def command(recipe: RecipeFile, out: Out = None, changes: Set = None, force: Force = False) -> None:
        from mmkd.pipeline import stages as flow
        from mmkd.pipeline.run import require

        work = open_run(recipe, out, changes, force, several=name in SHARED)
        require(work, name)
        flow.STAGES[name](work)

    app.command(name, help=STAGE_HELP[name])(command)


for _name in STAGE_HELP:
    _add_stage(_name)
    if _name == "specialists":  # commands are listed in the order of the flow
        app.command("curate")(curate.curate)
        app.command("extract")(extract.extract)
        app.command("evidence")(evidence.evidence)
    if _name == "distill":
        app.command("evaluate")(evaluate.evaluate)
        app.command("report")(report.report)
app.add_typer(features.app, name="features")


@app.command("import-reference")
def import_reference(
    folder: Annotated[Path, typer.Argument(help="The public code's data folder, with meta.jsonl in it.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder: corpus/ and features/ go there.")],
    val: Annotated[float, typer.Option("--val", min=0, max=0.9, help="Share of articles in the split val.")] = 0.05,
    seed: Annotated[int, typer.Option("--seed", help="Of the split.")] = 0,
    force: Force = False,
) -> None:
    """Read the public MMKD-CLIP data layout (meta.jsonl, clips_output.pt, images) into a corpus and features."""
    from mmkd.pipeline.import_reference import import_reference as body
    from mmkd.settings import Machine

    body(folder, out.resolve(), val, seed, force, Machine())


app.add_typer(teachers.app, name="teachers")


app.add_typer(corpus.app, name="corpus")
app.add_typer(datasets.app, name="datasets")
app.command("compare")(compare.compare)
app.command("plan")(plan.plan)
app.command("runs")(runs.runs)
app.command("ablate")(ablate.ablate)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show versions, processors, memory and GPUs, and what is missing for a run."""
    from mmkd.pipeline.doctor import examine

    found = examine()
    print(json.dumps(found, indent=1) if as_json else "\n".join(f"{name:14s} {value}" for name, value in found.items()))


def main() -> None:
    """Entry point: a mistake of the user's is a message and exit code 2; a defect of ours keeps its traceback."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads and our worker processes do not mix
    try:
        app()
    except MmkdError as error:
        print(f"mmkd: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("mmkd: stopped; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
