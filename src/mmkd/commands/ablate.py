"""`mmkd ablate ABLATION.toml`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.commands.executor_options import takes_executor

if TYPE_CHECKING:
    from mmkd.ablate.schedule import Job
    from mmkd.ablate.settings import Ablation

AblationFile = Annotated[Path, typer.Argument(metavar="ABLATION", help="The ablation, a TOML file.")]


@takes_executor
def ablate(
    ablation: AblationFile,
    out: Annotated[Path | None, typer.Option("--out", help="[default: runs/ablations/<the file's name>]")] = None,
    pool: Annotated[
        Path | None,
        typer.Option(
            "--pool", help="Where stages lie that runs, also of other ablations, share. [default: beside OUT]"
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Runs at the same time; the same as --workers.")] = 1,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="VARIANT", help="These variants alone.")] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="As 0,1,2. [default: the ablation's]")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done and stop.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Make runs anew whose recipe has changed.")] = False,
    executor: Sequence[str] = (),
) -> None:
    """Train one student for each variant of a recipe and seed, and compare them in one table and page.

    Every variant differs from the recipe in exactly the keys that it names. Stages that are equal are made once; a run
    that was cut off goes on. After a change of mmkd's own code choose another --pool: it knows settings and data only.
    """
    from mmkd.ablate.schedule import jobs_of, run_all
    from mmkd.ablate.settings import check_variants, load_ablation
    from mmkd.pipeline.recipe import executor_of

    loaded = load_ablation(ablation)
    home = (out or Path("runs") / "ablations" / ablation.stem).resolve()
    check_variants(loaded, home)
    shared = (pool or home.parent / "pool").resolve()
    settings = executor_of(["executor.workers=" + str(jobs), *executor])
    together = (settings.workers or 1) if settings.kind == "local" else 1
    todo = jobs_of(loaded, home, shared, only or [], _numbers(seeds), together, force)
    if dry_run:
        _show(todo)
        return
    try:
        run_all(todo, home, settings.open())
    finally:
        _summarise(loaded, ablation.stem, home)


def _numbers(text: str) -> list[int]:
    from mmkd.errors import ConfigError

    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise ConfigError(f"--seeds {text!r}: expected whole numbers with commas, as 0,1,2") from None


def _show(todo: "list[Job]") -> None:
    from mmkd.ablate.summary import RESULTS

    for job in todo:
        state = "complete" if (job.folder / RESULTS).is_file() else "partial" if job.folder.exists() else "to do"
        print(f"{job.variant:24s} seed {job.recipe.seed:<4d} {state:9s} {job.folder}")


def _summarise(loaded: "Ablation", name: str, home: Path) -> None:
    """The tables and the page of what is finished."""
    from mmkd.ablate.schedule import gathered
    from mmkd.ablate.summary import summarise
    from mmkd.ablate.tables import as_csv, as_markdown, left_out_sentence, page, print_table
    from mmkd.folders.atomic import atomic_file

    rows = gathered(home)
    lines = summarise(loaded, rows)
    if not lines:
        print(f"{home}: no run is finished yet")
        return
    made = {
        "summary.md": as_markdown(name, loaded.about, lines, rows),
        "summary.csv": as_csv(lines),
        "index.html": page(name, loaded.about, loaded.axis, lines, rows),
    }
    for file, text in made.items():
        with atomic_file(home / file) as stream:
            stream.write(text.encode())
    print_table(name, lines)
    if left_out := left_out_sentence(rows):
        print(left_out)
    print(f"table: {home / 'summary.md'}\npage:  {home / 'index.html'}")
