"""The training curves of a run's folder as one page, `curves.html`, finished and running trainings on shared axes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmkd.folders.atomic import atomic_file
from mmkd.report import markup
from mmkd.report.curves import training_figure
from mmkd.training.records.curves import (
    PAGE,
    TOTAL,
    VALIDATION,
    Points,
    loss_names,
    points,
    read_curves,
    validation_names,
)
from mmkd.training.records.metrics_log import Record

Runs = Mapping[str, Sequence[Record]]

# in the order of the page: value in the records, title, and what a reader should know
MEASURES = (
    ("lr", "Learning rate", "linear warm-up, then half a cosine to zero"),
    ("grad_norm", "Gradient norm", "before it is clipped"),
    ("logit_scale", "Logit scale", "what cosines are multiplied with in the contrastive loss; at most 100"),
    ("pairs_per_s", "Pairs a second", "of all processes together"),
    ("wait", "Waiting for data", "share of the time that the step waited for its batch"),
    ("mfu", "Model FLOP utilisation", "share of the machine's peak"),
    ("tflops", "TFLOP a second", "of the student, a process"),
    ("memory_gb", "Memory", "of the device at its peak, in GB"),
    ("skipped", "Skipped steps", "whose loss or gradient was not finite"),
)


def write_curves(out: Path) -> Path | None:
    """Write `out/curves.html` from every training below the folder; None, and nothing written, where there is none.

    Equal records make equal pages. Raises DataError when a metrics file is damaged.
    """
    runs = read_curves(out)
    if not runs:
        return None
    with atomic_file(out / PAGE) as stream:
        stream.write(markup.page(f"mmkd training: {out.name}", list(curves_body(out.name, runs))).encode())
    return out / PAGE


def curves_body(title: str, runs: Runs) -> Iterator[str]:
    """Everything between head and foot. runs: name of the training -> its records, not empty."""
    yield markup.heading(1, f"{title}: training")
    yield markup.paragraph(
        f"{len(runs)} {'training' if len(runs) == 1 else 'trainings'}. A training has one colour and dash in all "
        "figures, named at the first. Where records are too many to be told apart, the lowest and the highest of each "
        "stretch are drawn.",
        kind="muted",
    )
    yield markup.text_table(["training", "steps", "last loss", "best validation", "pairs/s"], list(_rows(runs)))
    yield markup.heading(2, "Losses", "losses")
    says = "Total loss. Totals of different objectives are not on one scale: compare shapes, not heights."
    yield markup.figure("loss", training_figure(_of(runs, TOTAL), "loss"), says)
    yield from _section("Named losses, before they are weighted", _named_losses(runs), runs)
    yield from _section("Validation", _validation(runs), runs)
    yield from _section("How it went", MEASURES, runs, from_zero=True)


def _of(runs: Runs, value: str) -> dict[str, Points]:
    return {name: points(records, value) for name, records in runs.items()}


def _named_losses(runs: Runs) -> list[tuple[str, str, str]]:
    names = dict.fromkeys(name for records in runs.values() for name in loss_names(records))
    return [(name, name.replace("_", " "), "") for name in names if name != TOTAL]


def _validation(runs: Runs) -> list[tuple[str, str, str]]:
    names = dict.fromkeys(name for records in runs.values() for name in validation_names(records))
    explained = "on the split val, which is no test set; higher is better"
    return [(name, name.removeprefix(VALIDATION).replace("_", " "), explained) for name in names]


def _section(title: str, values: Sequence[tuple[str, str, str]], runs: Runs, from_zero: bool = False) -> Iterator[str]:
    """A heading and a figure for each value that some training has."""
    figures = []
    for value, name, explained in values:
        curves = _of(runs, value)
        if any(curves.values()):
            says = f"{name}: {explained}." if explained else f"{name}."
            drawn = training_figure(curves, name, small=True)
            if from_zero:
                drawn.update_yaxes(rangemode="tozero")
            figures.append(markup.figure(f"value-{value}", drawn, says))
    if figures:
        yield markup.heading(2, title)
        yield markup.grid(figures)


def _rows(runs: Runs) -> Iterator[list[str]]:
    for name, records in runs.items():
        steps = int(records[-1]["step"] or 0)
        best = [f"{max(value for _, value in found):.4f}" for found in _validated(records) if found]
        last = [f"{found[-1][1]:.4g}" if (found := points(records, value)) else "–" for value in (TOTAL, "pairs_per_s")]
        yield [name, f"{steps:,}", last[0], ", ".join(best) or "–", last[1]]


def _validated(records: Sequence[Record]) -> list[Points]:
    return [points(records, name) for name in validation_names(records)]
