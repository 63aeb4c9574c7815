"""The command line. Heavy libraries load inside the commands, so that `mmkd --help` answers at once."""

import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from mmkd import __version__
from mmkd.commands import (
    ablate,
    adapt,
    compare,
    corpus,
    curate,
    datasets,
    embed,
    evaluate,
    evidence,
    export,
    extract,
    features,
    index,
    init,
    label,
    plan,
    report,
    runs,
    search,
    serve,
    stages,
    teachers,
    verify,
)
from mmkd.commands.options import Force, Json
from mmkd.errors import MmkdError, mended_by
from mmkd.output import VERBOSITY, UntilClosed, calm_libraries, is_verbose
from mmkd.pipeline.table import STAGES

HELP = (
    "Distil many biomedical CLIP teachers into one student, evaluate it, and put it to work.\n\n"
    "A recipe (TOML) names image-caption pairs, teachers and the student. `mmkd run RECIPE` does everything: it "
    "curates the pairs, extracts every teacher's features once, measures each teacher's reliability, pretrains the "
    "student (stage 1), distils the teachers into it (stage 2), evaluates all of them, writes a report and exports the "
    "student for open_clip, transformers and ONNX. Each stage is also a command of its own.\n\n"
    "With a model, a student's or any other: `mmkd embed`, `label`, `index`, `search`, `adapt` and `serve`.\n\n"
    "A finished stage is skipped, one that was cut off goes on, and one whose recipe or inputs changed is refused "
    "unless --force. Start with `mmkd run demo`, or with `mmkd init` for data of your own.\n\n"
    "Exit codes: 0 done, 2 something you can mend (the message says what), 130 stopped by Ctrl-C, 1 a defect of mmkd."
)

INTERRUPTED = 130

OWN_COMMANDS: dict[str, Callable[..., None]] = {
    "curate": curate.curate,
    "extract": extract.extract,
    "evidence": evidence.evidence,
    "evaluate": evaluate.evaluate,
    "report": report.report,
    "export": export.export,
}
"""Stages whose commands have options of their own."""
COMMANDS: tuple[Callable[..., None], ...] = (
    init.init,
    compare.compare,
    plan.plan,
    runs.runs,
    verify.verify,
    ablate.ablate,
    embed.embed,
    label.label,
    index.index,
    search.search,
    adapt.adapt,
    serve.serve,
)
"""Those that are no stages."""

Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Also all warnings of libraries, and the traceback of an error.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print errors and results only, no progress.")]


def make_app() -> typer.Typer:
    """All commands, the stages' in the order of their table."""
    app = typer.Typer(
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # markup takes brackets out of help texts
        context_settings={"max_content_width": 120, "help_option_names": ["-h", "--help"]},
    )
    app.callback()(common)
    app.command("run")(stages.run)
    app.command("check")(stages.check)
    for spec in STAGES.values():
        app.command(spec.name, help=spec.help)(OWN_COMMANDS.get(spec.name) or stages.stage_command(spec.name))
        if spec.old_name:
            app.command(spec.old_name, hidden=True, help=spec.help)(stages.stage_command(spec.name, spec.old_name))
    app.command("import-reference")(import_reference)
    for name, group in {"features": features, "teachers": teachers, "corpus": corpus, "datasets": datasets}.items():
        app.add_typer(group.app, name=name)
    for command in (*COMMANDS, doctor):
        app.command()(command)
    _with_verbosity(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mmkd {__version__}")
        raise typer.Exit


def common(
    verbose: Verbose = False,
    quiet: Quiet = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options in front of the command; `-v` and `-q` may also stand behind it."""
    os.environ[VERBOSITY] = "verbose" if verbose else "quiet" if quiet else ""


def _with_verbosity(app: typer.Typer) -> None:
    """Give every command `-v` and `-q`."""
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _with_verbosity(group.typer_instance)
    for info in app.registered_commands:
        if info.callback is not None and not hasattr(info.callback, "__wrapped__"):  # groups outlive one app
            info.callback = _listening(info.callback)


def _listening(command: Callable[..., None]) -> Callable[..., None]:
    @wraps(command)
    def with_options(*args: Any, verbose: bool, quiet: bool, **options: Any) -> None:
        if verbose or quiet:
            common(verbose, quiet)
        command(*args, **options)

    own = inspect.signature(command, eval_str=True)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("verbose", Verbose), ("quiet", Quiet))
    ]
    with_options.__signature__ = own.replace(parameters=[*own.parameters.values(), *more])  # type: ignore[attr-defined]
    return with_options


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
    calm_libraries()
    try:
        with redirect_stdout(UntilClosed(sys.stdout)):
            app(prog_name="mmkd")
    except MmkdError as error:
        if is_verbose():
            traceback.print_exc()
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
