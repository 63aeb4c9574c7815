"""The reference page of the folders of a run."""

from pathlib import Path

from mmkd.pipeline.status import STAGES

CONTENT = Path(__file__).with_name("run_folders.txt")
HEAD = """# Folders of a run

`mmkd run RECIPE --out runs/mine` writes one folder for each stage below `runs/mine`.
`mmkd run RECIPE --dry-run` prints the same table for a recipe, with the state of each folder.

| stage | folders |
|---|---|
"""


def run_page() -> str:
    """A row for each stage, then what lies in the folders."""
    rows = [f"| `{stage}` | {', '.join(f'`{name}/`' for name in names)} |" for stage, names in STAGES.items()]
    return HEAD + "\n".join(rows) + "\n\n" + CONTENT.read_text()
