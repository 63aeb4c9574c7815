"""Progress in a real Jupyter kernel: one bar for each loop, which says at the end how far it came."""

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from mmkd.notebook import in_notebook

CELLS = (
    """
import time, mmkd.progress
from mmkd.progress import counted, track
mmkd.progress.CELL_EVERY_S = 0.01

def slowly(count):
    for place in range(count):
        time.sleep(0.02)
        yield place

assert list(track(slowly(5), "embed <a>", 1200, "pictures", done=700, weight=100)) == [0, 1, 2, 3, 4]
""",
    'counted(slowly(3), "curate", 3, "shards", lambda: 0, "records")',
    """
for place in track(slowly(5), "train", 5, "steps"):
    if place == 2:
        break
""",
    'done = list(track(slowly(3), "index", 0, "pictures"))',
    """
from mmkd.notebook import CellBar
said, bundle = [], CellBar._bundle
CellBar._bundle = lambda bar, number, more: said.append((number, more)) or bundle(bar, number, more)
done = list(track(slowly(5), "embed", 5, "pictures"))
assert said[0] == (0, "") and said[-1] == (5, "") and " s left" in said[1][1], said
said.clear()
counted(slowly(5), "curate", 5, "shards", lambda: 0, "records")
assert len({number for number, more in said}) > 3 and "/s, " in said[-2][1], said
""",
    """
import os
os.environ["MMKD_VERBOSITY"] = "quiet"
done = list(track(slowly(2), "embed", 2, "pictures"))
counted(slowly(2), "curate", 2, "shards", lambda: 0, "records")
""",
)


@pytest.fixture(scope="module")
def cells() -> list[Any]:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(made, timeout=120, kernel_name="python3").execute()
    return list(made.cells)


@pytest.mark.parametrize(
    ("place", "line", "bar"),
    [
        (0, "embed <a>: 1,200 of 1,200 pictures", '<progress value="1200" max="1200">'),
        (1, "curate: 3 of 3 shards, 0 records", '<progress value="3" max="3">'),
        (2, "train: 2 of 5 steps", '<progress value="2" max="5">'),
        (3, "index: 3 pictures", "<progress>"),
    ],
)
def test_a_loop_is_one_bar_that_ends_where_the_loop_ended(cells: list[Any], place: int, line: str, bar: str) -> None:
    bars = [output for output in cells[place].outputs if output.output_type == "display_data"]
    assert [output.data["text/plain"] for output in bars] == [line]
    assert bars[0].data["text/html"].startswith(bar)
    assert "<a>" not in bars[0].data["text/html"]
    assert len(cells[place].outputs) == 1


def test_a_quiet_notebook_shows_only_results(cells: list[Any]) -> None:
    assert [output.output_type for output in cells[5].outputs] == []


def test_no_kernel_is_no_notebook() -> None:
    import IPython  # noqa: F401

    assert not in_notebook()
