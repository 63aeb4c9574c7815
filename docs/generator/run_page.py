"""The reference page of the folders of a run: the table of stages, then what lies in the folders."""

from pathlib import Path

from mmkd.pipeline.table import STAGES, StageSpec

CONTENT = Path(__file__).with_name("run_folders.txt")
HEAD = """# Folders of a run

`mmkd run RECIPE --out runs/mine` writes the folders of every stage below `runs/mine`.
`mmkd run RECIPE --dry-run` prints them for a recipe, with their state. It makes the comparison that the run makes:

| state | meaning |
|---|---|
| `complete` | finished, is skipped |
| `partial` | was interrupted, continues |
| `to do` | is made |
| `running` | another process works on it |
| `refused` | was made from other settings or inputs; the line names them with both values |
| `anew` | the same with `--force`: is made anew |
| `open` | stays if the folders that it reads, which are made first, come out as they were |
| `broken` | what it is made from cannot be read; the line says why |

The exit code is 2 where the run would be refused. Every stage's command has the option too.

`{teacher}`, `{specialist}` and `{rival}` stand for all names of the recipe. `{evidence}` stands for the folder
`evidence` where the recipe has `[reliability] modality = "evidence"`.

A stage with a recipe section runs only if the recipe has that section. A parallel stage is shared by the processes of
torchrun; any other runs on one process while the others wait. `--gpus N` has `pretrain` and `distill` start processes
of their own.

| stage | folders | reads | recipe section | parallel |
|---|---|---|---|---|
"""


def run_page() -> str:
    """A row for each stage, then what lies in the folders."""
    return HEAD + "\n".join(map(_row, STAGES.values())) + "\n\n" + CONTENT.read_text()


def _row(spec: StageSpec) -> str:
    section = f"`[{spec.section}]`" if spec.section else ""
    cells = (f"`{spec.name}`", _list(spec.folders), _list(spec.inputs), section, "yes" if spec.parallel else "no")
    return f"| {' | '.join(cells)} |"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
