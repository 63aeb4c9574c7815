"""The tables of the report as files for other programs: CSV of all rows, LaTeX (booktabs) of those that are printed."""

import csv
import io
from collections.abc import Container, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from mmkd.evaluation.format.results import MEAN, NULLS, Comparison, Result, metric_label
from mmkd.folders.atomic import atomic_file
from mmkd.report.numbers import gain, p_text, scale_of
from mmkd.report.source import Evaluated, lower_is_better, primary_metric, task_title
from mmkd.report.summary import primary_comparisons

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
FORMULA = ("=", "+", "-", "@", "\t")  # a spreadsheet would run text that begins so


def write_tables(evaluated: Evaluated, folder: Path) -> int:
    """Write `tables/*.csv` and `tables/*.tex`; returns the number of files."""
    files = {
        "results.csv": csv_of(Result, [*evaluated.results, *evaluated.subsets]),
        "comparisons.csv": csv_of(Comparison, evaluated.comparisons),
    }
    for task in evaluated.tasks:
        heads, rows = by_data_set(evaluated, task)
        caption = f"{task_title(task)}: {metric_label(primary_metric(evaluated.of_task(task), task))}"
        files[f"{task}.csv"] = csv_text([heads, *rows])
        files[f"{task}.tex"] = latex_table(heads, rows, caption, f"tab:{task}", _best_cells(evaluated, task, heads))
        if gains := [row for row in primary_comparisons(evaluated, task) if row.modality == MEAN]:
            heads, rows = ["rival", "difference", "p"], [[row.rival, gain(row), p_text(row.p)] for row in gains]
            said = f"{task_title(task)}: {evaluated.main} minus each other model, {metric_label(gains[0].metric)}"
            files[f"{task}_differences.tex"] = latex_table(heads, rows, said, f"tab:{task}-differences")
    for name, text in files.items():
        with atomic_file(folder / TABLES / name) as stream:
            stream.write(text.encode())
    return len(files)


def by_data_set(evaluated: Evaluated, task: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the task's primary metric: a row per model, a column per data set and the mean."""
    values = _values(evaluated, task)
    heads = list(dict.fromkeys(name for _, name in values))
    metric = primary_metric(evaluated.of_task(task), task)
    models = evaluated.order(model for model, _ in values)
    return ["model", *heads], [
        [model, *(scale_of(metric).value(values.get((model, name))) for name in heads)] for model in models
    ]


def _values(evaluated: Evaluated, task: str) -> dict[tuple[str, str], float]:
    """(model, data set) -> value; the mean of all data sets last."""
    rows = evaluated.of_task(task)
    mine = [row for row in rows if row.metric == primary_metric(rows, task)]
    single = {(row.model, row.dataset): row.value for row in mine if row.dataset != MEAN}
    return single | {(row.model, MEAN): row.value for row in mine if row.modality == MEAN}


def _best_cells(evaluated: Evaluated, task: str, heads: Sequence[str]) -> set[tuple[str, str]]:
    """(model, data set) of the best value of every column, nulls aside."""
    values = {key: value for key, value in _values(evaluated, task).items() if key[0] not in NULLS}
    choose = min if primary_metric(evaluated.of_task(task), task) in lower_is_better(task) else max
    best = set()
    for name in heads:
        column = [value for (_, other), value in values.items() if other == name]
        best |= {key for key, value in values.items() if key[1] == name and value == choose(column)}
    return best


def csv_of(row_class: type[Result | Comparison], rows: Sequence[Result | Comparison]) -> str:
    """All fields of all rows, full precision."""
    return csv_text([[one.name for one in fields(row_class)], *(list(asdict(row).values()) for row in rows)])


def csv_text(rows: Sequence[Sequence[object]]) -> str:
    """Text cells that a spreadsheet would take for a formula begin with an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return stream.getvalue()


def latex_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str,
    label: str,
    best: Container[tuple[str, str]] = (),
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


def _harmless(cell: object) -> object:
    if not isinstance(cell, str):
        return "" if cell is None else cell
    text = cell.replace("\r\n", "\n").replace("\r", "\n")  # a lone carriage return is not quoted, and ends a row
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
