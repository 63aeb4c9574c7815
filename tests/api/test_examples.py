"""The notebooks are what their sources give, hold nothing of the machine that made them, and run."""

import ast
import re
from pathlib import Path

import make
import nbformat
import pytest

from tiny import REALDATA

LARGEST = 200_000  # bytes of a notebook
OF_A_MACHINE = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|usr|opt|mnt|data|Users)/")


@pytest.mark.parametrize("name", make.NAMES)
def test_a_stored_notebook_is_its_source_executed(name: str) -> None:
    """When this fails: `python examples/make.py`."""
    stored, made = nbformat.read(make.HERE / f"{name}.ipynb", 4), make.notebook(name)
    nbformat.validate(stored)
    assert [(cell.cell_type, cell.source, cell.id) for cell in stored.cells] == [
        (cell.cell_type, cell.source, cell.id) for cell in made.cells
    ]
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any(cell.outputs for cell in code)


@pytest.mark.parametrize("name", make.NAMES)
def test_a_stored_notebook_is_small_and_of_no_machine(name: str) -> None:
    text = (make.HERE / f"{name}.ipynb").read_text()
    assert len(text) < LARGEST
    assert not OF_A_MACHINE.search(re.sub(r'"image/png": "[^"]*"', "", text))
    assert '"output_type": "error"' not in text


def test_the_source_says_the_same_as_a_script() -> None:
    """Commands of the shell are comments in it, so that editors and linters read it."""
    ast.parse((make.HERE / "own_csv.py").read_text())
    assert any(cell.source.startswith("!mmkd init") for cell in make.notebook("own_csv").cells)


SMALLER = {
    "demo": {"count = 1500": "count = 200", "count = 2000": "count = 200", "per_class = 40": "per_class = 8"}
    | {"retrieval = 400": "retrieval = 150", "epochs = {epochs}": "epochs = 1", "epochs = 10": "epochs = 1"}
    | {"epochs = 4": "epochs = 1", "cards = {CARDS}": "bootstrap = 50\ncards = {CARDS}"},
    "own_csv": {"range(600)": "range(160)", '"epochs": 8,': '"epochs": 1,', '"epochs": 4}': '"epochs": 1}'},
    "tcga_slide": {"most=300": "most=20"},
}


@pytest.mark.slow
def test_the_notebooks_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On less data, in one test: the later ones use the run of the first. Their outputs are of the stored kinds."""
    monkeypatch.setenv("MMKD_REALDATA", str(REALDATA))
    names = [name for name in make.NAMES if name != "tcga_slide" or list(REALDATA.glob("wsi/svs/TCGA-*.svs"))]
    for name, made in zip(names, make.execute(names, tmp_path, SMALLER), strict=True):
        stored = nbformat.read(make.HERE / f"{name}.ipynb", 4)
        assert [kinds_of_last(cell) for cell in made.cells] == [kinds_of_last(cell) for cell in stored.cells]
    if len(names) < len(make.NAMES):
        pytest.skip("the others ran; tcga_slide needs a slide in MMKD_REALDATA/wsi/svs")


def kinds_of_last(cell: nbformat.NotebookNode) -> list[str]:
    return [kind for output in cell.get("outputs", [])[-1:] for kind in sorted(output.get("data", {"text": 0}))]
