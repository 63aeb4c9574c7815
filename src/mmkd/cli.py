"""The command line. Heavy libraries load inside the commands, so that `mmkd --help` answers at once."""

import json
import os
import sys
from collections.abc import Callable
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
    stages,
    teachers,
    verify,
)
from mmkd.commands.options import Force, Json
from mmkd.errors import MmkdError, mended_by
from mmkd.pipeline.table import STAGES

HELP = (
    "Turn many biomedical CLIP teachers into one student that is better than each of them, and prove it.\n\n"
    "A recipe (TOML) names image-caption pairs, teachers and the student. `mmkd run RECIPE` does everything: it "
    "curates the pairs, extracts every teacher's features once, measures each teacher's reliability, pretrains the "
    "student (stage 1), distils the teachers into it (stage 2), evaluates all of them, writes a report and exports the "
    "student for open_clip. Each stage is also a command of its own.\n\n"
    "A finished stage is skipped, one that was cut off goes on, and one whose recipe or inputs changed is refused "
    "unless --force. Start with `mmkd run recipes/demo.toml`.\n\n"
    "Exit codes: 0 done, 2 something you can mend (the message says what), 130 stopped by Ctrl-C, 1 a defect of mmkd."
)

INTERRUPTED = 130

OWN_COMMANDS: dict[str, Callable[..., None]] = {
    "curate": curate.curate,
    "extract": extract.extract,
    "evidence": evidence.evidence,
    "evaluate": evaluate.evaluate,
    "report": report.report,
}
"""Stages whose commands have options of their own."""


def make_app() -> typer.Typer:
    """All commands, the stages' in the order of their table."""
    app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.command("run")(stages.run)
    for spec in STAGES.values():
        app.command(spec.name, help=spec.help)(OWN_COMMANDS.get(spec.name) or stages.stage_command(spec.name))
        if spec.old_name:
            app.command(spec.old_name, hidden=True, help=spec.help)(stages.stage_command(spec.name, spec.old_name))
    app.command("import-reference")(import_reference)
    for name, group in {"features": features, "teachers": teachers, "corpus": corpus, "datasets": datasets}.items():
        app.add_typer(group.app, name=name)
    for command in (compare.compare, plan.plan, runs.runs, verify.verify, ablate.ablate, doctor):
        app.command()(command)
    return app


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


def doctor(as_json: Json = False) -> None:
    """Show versions, processors, memory and GPUs, and what is missing for a run."""
    from mmkd.pipeline.doctor import examine

    found = examine()
    print(json.dumps(found, indent=1) if as_json else "\n".join(f"{name:14s} {value}" for name, value in found.items()))


app = make_app()


def main() -> None:
    """Entry point: a mistake of the user's is a message and exit code 2; a defect of ours keeps its traceback."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads and our worker processes do not mix
    try:
        app()
    except MmkdError as error:
        print(f"mmkd: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if (message := mended_by(error)) is None:
            raise
        print(f"mmkd: {message}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # typer makes it of Ctrl-C, without a word
            print("mmkd: stopped; run the same command again to go on", file=sys.stderr)
        raise
