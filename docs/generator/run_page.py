"""The reference page of the folders of a run: the table of stages, then what lies in the folders."""

from pathlib import Path

from mmkd.pipeline.table import STAGES, StageSpec

CONTENT = Path(__file__).with_name("run_folders.txt")
HEAD = """# Folders of a run

`mmkd run RECIPE --out runs/mine` writes the folders of every stage below `runs/mine`.
`mmkd run RECIPE --dry-run` prints them for a recipe, with their state.

`{teacher}`, `{specialist}` and `{rival}` stand for all names of the recipe. `{evidence}` stands for the folder
`evidence` where the recipe has `[reliability] modality = "evidence"`.

A stage with a recipe section runs only if the recipe has that section. A parallel stage is shared by the processes of
torchrun; any other runs on one process while the others wait.

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
