"""The tables of the report as files for other programs: CSV of all rows, LaTeX (booktabs) of those that are printed."""

from collections.abc import Container, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from mmkd.evaluation.format.numbers import gain, metric_label, p_text
from mmkd.evaluation.format.results import MEAN, Comparison, Overall, Result
from mmkd.folders.atomic import atomic_file
from mmkd.report.source import Evaluated, primary_metric, task_title
from mmkd.report.summary import primary_comparisons
from mmkd.report.task_section import MARK, data_set_table
from mmkd.tables.spreadsheet import csv_text

TABLES = "tables"
SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "→": r"$\to$",
    "–": "--",
    "\n": " ",
}


def write_tables(evaluated: Evaluated, folder: Path) -> int:
    """Write `tables/*.csv` and `tables/*.tex`; returns the number of files."""
    files = {
        "results.csv": csv_of(Result, [*evaluated.results, *evaluated.subsets]),
        "comparisons.csv": csv_of(Comparison, evaluated.comparisons),
        **({"overall.csv": csv_of(Overall, evaluated.overall)} if evaluated.overall else {}),
    }
    for task in evaluated.tasks:
        table = data_set_table(evaluated, task, mean_of_one=True)
        heads = ["model", *table.heads[1:]]
        rows = [[row.name, *(cell.text.removesuffix(MARK) for cell in row.styled_cells)] for row in table.rows]
        caption = f"{task_title(task)}: {metric_label(primary_metric(evaluated.of_task(task), task))}"
        if left_out := evaluated.left_out(task):
            caption += f"; not in the mean: {', '.join(left_out)}"
        cells = [(row.name, zip(heads[1:], row.styled_cells, strict=True)) for row in table.rows]
        best = {(name, head) for name, of_row in cells for head, cell in of_row if cell.kind == "best"}  # nulls aside
        files[f"{task}.csv"] = csv_text([heads, *rows])
        files[f"{task}.tex"] = latex_table(heads, rows, caption, f"tab:{task}", best)
        if gains := [row for row in primary_comparisons(evaluated, task) if row.modality == MEAN]:
            heads, rows = ["rival", "difference", "p"], [[row.rival, gain(row), p_text(row.p)] for row in gains]
            said = f"{task_title(task)}: {evaluated.main} minus each other model, {metric_label(gains[0].metric)}"
            files[f"{task}_differences.tex"] = latex_table(heads, rows, said, f"tab:{task}-differences")
    for name, text in files.items():
        with atomic_file(folder / TABLES / name) as stream:
            stream.write(text.encode())
    return len(files)


def csv_of(row_class: type[Result | Comparison | Overall], rows: Sequence[Result | Comparison | Overall]) -> str:
    """All fields of all rows, full precision."""
    return csv_text([[one.name for one in fields(row_class)], *(list(asdict(row).values()) for row in rows)])


def latex_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str, best: Container[tuple[str, str]] = ()
) -> str:
    """A table for the package booktabs. best: (first cell, head) of the cells in bold."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        " & ".join(latex(head) for head in heads) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        cells = [
            rf"\textbf{{{latex(cell)}}}" if (row[0], head) in best else latex(cell)
            for head, cell in zip(heads, row, strict=True)
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def latex(text: str) -> str:
    """Text in which no character is a command."""
    return "".join(SPECIAL.get(character, character) for character in text)
