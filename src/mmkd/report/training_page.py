"""The training curves of a run's folder as one page, `curves.html`, finished and running trainings on shared axes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mmkd.report.curves import training_plot
from mmkd.report.plot import Figure
from mmkd.report.render import render, write_page
from mmkd.report.view import text_table
from mmkd.training.records.curves import (
    MEASURES,
    PAGE,
    TOTAL,
    VALIDATION,
    Points,
    loss_names,
    points,
    read_curves,
    thinned,
    validation_names,
)
from mmkd.training.records.metrics_log import Record

SMALL_POINTS = 300  # of a curve in one of many small figures
Runs = Mapping[str, Sequence[Record]]


def write_curves(out: Path) -> Path | None:
    """Write `out/curves.html` from every training below the folder; None, and nothing written, where there is none.

    Equal records make equal pages. Raises DataError when a metrics file is damaged.
    """
    runs = read_curves(out)
    if not runs:
        return None
    write_page(out / PAGE, curves_page(out.name, runs))
    return out / PAGE


def curves_page(title: str, runs: Runs) -> str:
    """runs: name of the training -> its records, not empty."""
    says = "Total loss. Totals of different objectives are not on one scale: compare shapes, not heights."
    validated = [
        (name, name.removeprefix(VALIDATION).replace("_", " "), "on the split val; higher is better")
        for name in _names(runs, validation_names)
    ]
    return render(
        "curves.html",
        title=f"{title}: training",
        runs=len(runs),
        table=text_table(["training", "steps", "last loss", "best validation", "pairs/s"], list(_rows(runs))),
        loss=Figure("loss", training_plot(_of(runs, TOTAL), "loss"), says),
        terms=_figures([(name, name.replace("_", " "), "") for name in _names(runs, loss_names)], runs),
        validation=_figures(validated, runs),
        measures=_figures(MEASURES, runs, zero=True),
    )


def _of(runs: Runs, value: str) -> dict[str, Points]:
    return {name: points(records, value) for name, records in runs.items()}


def _names(runs: Runs, names_of: Callable[[Sequence[Record]], list[str]]) -> list[str]:
    return list(dict.fromkeys(name for records in runs.values() for name in names_of(records)))


def _figures(values: Sequence[tuple[str, str, str]], runs: Runs, zero: bool = False) -> list[Figure]:
    """One for each value that some training has."""
    figures = []
    for value, name, explained in values:
        curves = {run: thinned(found, SMALL_POINTS) for run, found in _of(runs, value).items()}
        if any(curves.values()):
            says = f"{name}: {explained}." if explained else f"{name}."
            figures.append(Figure(f"value-{value}", training_plot(curves, name, small=True, zero=zero), says))
    return figures


def _rows(runs: Runs) -> Iterator[list[str]]:
    for name, records in runs.items():
        steps = int(records[-1]["step"] or 0)
        validated = [points(records, value) for value in validation_names(records)]
        best = [f"{max(value for _, value in found):.4f}" for found in validated if found]
        last = [f"{found[-1][1]:.4g}" if (found := points(records, value)) else "–" for value in (TOTAL, "pairs_per_s")]
        yield [name, f"{steps:,}", last[0], ", ".join(best) or "–", last[1]]
