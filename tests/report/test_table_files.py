"""Tables for other programs: whole, escaped, and readable again."""

import csv
import io
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_world import CONTEXT, SETS, write_world

from mmkd.evaluation.format.results import Result, read_results
from mmkd.report.source import read_evaluated
from mmkd.report.table_files import latex, latex_table, write_tables
from mmkd.tables.spreadsheet import csv_text, original


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    evaluated = read_evaluated(write_world(folder / "evaluate"), CONTEXT)
    assert write_tables(evaluated, folder) == len(list((folder / "tables").iterdir()))
    return folder


def test_every_result_is_in_the_csv_at_full_precision(tables: Path) -> None:
    with (tables / "tables" / "results.csv").open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    rows = read_results(tables / "evaluate")
    assert list(found[0]) == [one.name for one in fields(Result)]
    assert sorted(float(row["value"]) for row in found) == sorted(row.value for row in rows)


@pytest.mark.parametrize("task", SETS)
def test_each_task_has_a_table_of_its_data_sets(tables: Path, task: str) -> None:
    with (tables / "tables" / f"{task}.csv").open(encoding="utf-8", newline="") as stream:
        heads, *rows = csv.reader(stream)
    assert heads == ["model", *(name for name, _ in SETS[task]), "mean"]
    assert "student" in [row[0] for row in rows]
    text = (tables / "tables" / f"{task}.tex").read_text()
    assert text.count(r"\\") == len(rows) + 1
    assert text.count(" & ") == (len(heads) - 1) * (len(rows) + 1)
    assert r"\toprule" in text
    assert r"\textbf{" in text
    assert r"best\_teacher" in text
    assert (tables / "tables" / f"{task}_differences.tex").is_file()


def test_the_best_cell_is_bold() -> None:
    text = latex_table(
        ["model", "a", "b"], [["x_1", "50.0", "–"], ["y", "60.0", "10.0"]], "50 % & more", "t", {("y", "a")}
    )
    assert r"x\_1 & 50.0 & -- \\" in text
    assert r"y & \textbf{60.0} & 10.0 \\" in text
    assert r"\caption{50 \% \& more}" in text


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=40))
def test_no_character_of_data_is_a_command(text: str) -> None:
    left = latex(text)
    for escaped in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}", *(rf"\{c}" for c in "&%$#_{}")):
        left = left.replace(escaped, "")
    assert not set(left) & set("\\&%$#_{}~^\n")


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=2)
    )
)
def test_what_is_written_as_csv_can_be_read(rows: list[list[str]]) -> None:
    found = list(csv.reader(io.StringIO(csv_text(rows), newline="")))
    assert len(found) == len(rows)
    for written, row in zip(found, rows, strict=True):
        plain = [cell.replace("\r\n", "\n").replace("\r", "\n") for cell in row]
        assert [original(read) for read in written] == plain


@pytest.mark.parametrize("cell", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-x"])
def test_a_spreadsheet_runs_nothing(cell: str) -> None:
    assert csv_text([[cell]]).strip('"\n').startswith("'")
    assert csv_text([["-1.5", "+0.2"]]) == "-1.5,+0.2\n"


def test_latex_accepts_the_tables(tables: Path, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on the PATH; the escaping is tested by itself")
    body = "".join(path.read_text() for path in sorted((tables / "tables").glob("*.tex")))
    document = (
        r"\documentclass{article}\usepackage{booktabs}\usepackage[T1]{fontenc}\begin{document}"
        + body
        + r"\end{document}"
    )
    (tmp_path / "all.tex").write_text(document)
    subprocess.run(["pdflatex", "-interaction=batchmode", "-halt-on-error", "all.tex"], cwd=tmp_path, check=True)
