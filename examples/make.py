"""Execute the examples and write them as notebooks: `python examples/make.py [NAME ...]`.

The sources are the scripts beside this file, in cells of the percent format that Jupytext and editors know: `# %%`
opens a cell of code, `# %% [markdown]` one of text, and a line `# !command` is run by the shell. They are executed in
the order of NAMES in one folder, since the later ones use the run of the first.
"""

import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
NAMES = ("demo", "own_csv", "archive_search", "few_shot", "tcga_slide")
CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)
TIMEOUT_S = 600  # of a cell, on a busy machine


def notebook(name: str, swaps: Mapping[str, str] | None = None) -> Any:
    """The script as a notebook without outputs. swaps: texts of it that others replace."""
    text = (HERE / f"{name}.py").read_text()
    for old, new in (swaps or {}).items():
        if old not in text:
            raise ValueError(f"{name}.py: {old!r} is not in it; expected a text to replace")
        text = text.replace(old, new)
    _, *parts = CELL.split(text)
    cells = [_cell(kind.strip(), text.strip()) for kind, text in zip(parts[::2], parts[1::2], strict=True)]
    for place, cell in enumerate(cells):
        cell["id"] = f"{name}-{place}"  # else random
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def _cell(kind: str, text: str) -> Any:
    if kind == "[markdown]":
        return nbformat.v4.new_markdown_cell(re.sub(r"^# ?", "", text, flags=re.MULTILINE))
    return nbformat.v4.new_code_cell(re.sub(r"^# !", "!", text, flags=re.MULTILINE))


def execute(names: Sequence[str], folder: Path, swaps: Mapping[str, Mapping[str, str]] | None = None) -> list[Any]:
    """The notebooks with their outputs, executed in the folder by one process; none sees the variables of another.

    swaps: of the notebook of that name, as of `notebook`. Raises CellExecutionError for a cell that fails.
    """
    made = [notebook(name, (swaps or {}).get(name)) for name in names]
    cells = list(made[0].cells)
    for place, one in enumerate(made[1:]):
        cells += [nbformat.v4.new_code_cell("%reset -f", id=f"before-{place}"), *one.cells]
    together = nbformat.v4.new_notebook(cells=cells, metadata=made[0].metadata)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # for `!mmkd`
    client = NotebookClient(
        together, timeout=TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    client.execute(env={**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore"})
    for cell in cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if is_result(output, cell.source)]
            cell.metadata.pop("execution", None)  # when it ran
    return made


def is_result(output: Any, source: str) -> bool:
    """Not progress, which has times and this machine's paths: bars, and what is printed but for a command's answer."""
    if output.output_type == "stream":
        return source.startswith("!")
    return not output.get("data", {}).get("text/html", "").startswith(("<progress", "<pre"))


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            print(f"{name} ...", flush=True)
            [made] = execute([name], Path(folder))
            if not names or name in names:
                nbformat.write(made, HERE / f"{name}.ipynb")


if __name__ == "__main__":
    main(sys.argv[1:])
