"""The report of a run: one page, from the results on disk and what the run knows of itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmkd.evaluation.results import (
    BEST_TEACHER,
    MEAN,
    STUDENT,
    TEACHERS_CONCAT,
    Comparison,
    Result,
    by_modality,
    in_order,
    metric_label,
    read_comparisons,
    read_results,
    several_modalities,
)
from mmkd.evaluation.tasks.table import TASKS
from mmkd.report import figures, markup
from mmkd.report.figures import interval
from mmkd.stage import atomic_file, read_manifest
from mmkd.training.metrics_log import read_metrics

PAGE = "index.html"


@dataclass(frozen=True)
class ReportContext:
    """What the results do not say. licences: teacher -> licence, in the order of the tables.

    reliability: modality -> teacher -> mean percentile of a pair's own caption within its modality, 0..1.
    curves: name of a training run and its `metrics.jsonl`.
    """

    recipe: str
    seed: int
    licences: Mapping[str, str]
    reliability: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    curves: Sequence[tuple[str, Path]] = ()


def write_report(evaluate_folder: Path, folder: Path, context: ReportContext) -> dict[str, int]:
    """Write `folder/index.html` from a finished evaluation; returns counts. Raises DataError if it is none."""
    results = read_results(evaluate_folder)
    comparisons = read_comparisons(evaluate_folder)
    manifest = read_manifest(evaluate_folder)
    body = [
        markup.heading(1, f"{context.recipe}: one student, {len(context.licences)} teachers"),
        markup.paragraph(_what_was_measured(results, context), muted=True),
        *_headline(results, comparisons, context),
    ]
    for task in dict.fromkeys(row.task for row in results):
        body += _task([row for row in results if row.task == task], comparisons, task, list(context.licences))
    body += [*_calibration(context), *_training(context), *_run(manifest, context), *_licences(context)]
    with atomic_file(folder / PAGE) as stream:
        stream.write(markup.page(f"mmkd report: {context.recipe}", body).encode())
    return {"results": len(results), "comparisons": len(comparisons)}


def _what_was_measured(results: Sequence[Result], context: ReportContext) -> str:
    data_sets = {row.dataset: row.n for row in results if row.dataset != MEAN}
    models = len({row.model for row in results} - {BEST_TEACHER, TEACHERS_CONCAT})
    return (
        f"{models} models on {len(data_sets)} data sets with {sum(data_sets.values()):,} samples; seed {context.seed}."
    )


def _headline(results: Sequence[Result], comparisons: Sequence[Comparison], context: ReportContext) -> Iterator[str]:
    """The student beside the best single teacher, the best teacher of each data set, and the best other student."""
    task = results[0].task
    metric = TASKS[task].primary
    means = {name: rows[MEAN] for name, rows in by_modality(results, task, metric).items()}
    gains = {row.rival: row for row in comparisons if (row.task, row.metric, row.modality) == (task, metric, MEAN)}
    if STUDENT not in means:
        return
    special = {STUDENT, BEST_TEACHER, TEACHERS_CONCAT}
    shown = [
        ("best single teacher", _highest(means, [name for name in context.licences if name in means])),
        ("best teacher of each data set", BEST_TEACHER if BEST_TEACHER in means else None),
        ("best other student", _highest(means, [name for name in means if name not in {*special, *context.licences}])),
    ]
    ours = means[STUDENT]
    subject = f"{TASKS[task].title}, {metric_label(metric)}, mean over the data sets"
    tiles = [markup.tile("student", _percent(ours), [interval(ours.low, ours.high) + " %", subject], ours=True)]
    tiles += [
        markup.tile(what, _percent(means[name]), [name, _gain(gains[name])]) for what, name in shown if name is not None
    ]
    yield markup.tiles(tiles)
    yield markup.paragraph(
        "In brackets: percentile intervals of the bootstrap. Differences are the student's, on the same draws; p is "
        "two-sided. The best teacher of each data set is chosen on the test data and flatters the teachers: it is the "
        "limit of what choosing among them could reach.",
        muted=True,
    )


def _task(
    results: Sequence[Result], comparisons: Sequence[Comparison], task: str, teachers: Sequence[str]
) -> Iterator[str]:
    """Everything about one task: by modality, all metrics, and the student's gains."""
    metric = TASKS[task].primary
    rows = by_modality(results, task, metric)
    modalities = several_modalities(rows)
    yield markup.heading(2, TASKS[task].title)
    yield markup.paragraph(f"Protocol: {results[0].protocol}.", muted=True)
    if modalities:
        yield markup.heading(3, f"{metric_label(metric)} by modality".capitalize())
        yield markup.figure(f"{task}-modalities", figures.by_modality_figure(rows, modalities, teachers))
        columns = [*modalities, MEAN]
        cells = {name: [_value(rows[name], column) for column in columns] for name in in_order(rows, teachers)}
        yield markup.number_table(columns, cells, STUDENT)
    yield markup.heading(3, f"{metric_label(metric)}, mean over the data sets, with intervals".capitalize())
    means = {name: by_name[MEAN] for name, by_name in rows.items()}
    yield markup.figure(f"{task}-means", figures.means_figure(means, teachers))
    yield markup.heading(3, "All metrics, mean over the data sets, in %")
    yield _all_metrics(results, task, teachers)
    gains = [row for row in comparisons if (row.task, row.metric, row.modality) == (task, metric, MEAN)]
    if gains:
        yield markup.heading(3, f"What the student gains on each other model in {metric_label(metric)}")
        yield markup.figure(f"{task}-gains", figures.gains_figure(gains, teachers))
        columns = ["rival", "difference, points", "interval", "p"]
        yield markup.text_table(
            columns,
            [[g.rival, f"{100 * g.difference:+.1f}", interval(g.low, g.high, "+"), f"{g.p:.3f}"] for g in gains],
        )
    yield from _notes(results)


def _all_metrics(results: Sequence[Result], task: str, teachers: Sequence[str]) -> str:
    means = {(row.model, row.metric): row.value for row in results if row.modality == MEAN}
    metrics = list(dict.fromkeys(metric for _, metric in means))
    models = in_order((name for name, _ in means), teachers)
    cells = {name: [means[name, metric] for metric in metrics] for name in models}
    lower = [metric_label(metric) for metric in TASKS[task].lower_is_better]
    return markup.number_table([metric_label(metric) for metric in metrics], cells, STUDENT, lower)


def _notes(results: Sequence[Result]) -> Iterator[str]:
    """Warnings of the data sets and choices made on them, each once."""
    noted = dict.fromkeys(
        (row.dataset, row.model if row.model == BEST_TEACHER else "", row.note)
        for row in results
        if row.note and row.dataset != MEAN
    )
    if noted:
        yield markup.heading(3, "Notes")
        yield markup.text_table(["data set", "model", "note"], list(noted))


def _calibration(context: ReportContext) -> Iterator[str]:
    if context.reliability:
        yield markup.heading(2, "Whom to believe about what")
        yield markup.paragraph(
            "How high each teacher ranks a pair's own caption among captions of the same modality, as the mean "
            "percentile on the training corpus: 0.50 is chance, and wrong captions in the corpus keep it below 1."
        )
        yield markup.figure("reliability", figures.reliability_figure(context.reliability, list(context.licences)))


def _training(context: ReportContext) -> Iterator[str]:
    curves = {
        name: [(record["step"], record["loss"]) for record in read_metrics(path) if "loss" in record]
        for name, path in context.curves
    }
    if drawn := {name: points for name, points in curves.items() if points}:
        yield markup.heading(2, "Training")
        yield markup.paragraph("Losses of different objectives are not on one scale: compare shapes, not heights.")
        yield markup.figure("training", figures.curves_figure(drawn, "loss"))


def _run(manifest: Mapping[str, object], context: ReportContext) -> Iterator[str]:
    yield markup.heading(2, "What was run")
    rows = [["recipe", context.recipe], ["seed", str(context.seed)]]
    for part in ("counts", "versions"):
        values = manifest.get(part)
        if isinstance(values, Mapping):
            rows.append([part, ", ".join(f"{name} {value}" for name, value in values.items())])
    rows.append(["evaluation took", f"{manifest.get('wall_s')} s, {manifest.get('peak_memory_mb')} MiB at most"])
    yield markup.text_table(["", ""], rows)


def _licences(context: ReportContext) -> Iterator[str]:
    yield markup.heading(2, "Licences of the teachers")
    yield markup.paragraph("A student learns from all of them; check each before you use or share it.")
    yield markup.text_table(["teacher", "licence"], list(context.licences.items()))


def _highest(means: Mapping[str, Result], names: Sequence[str]) -> str | None:
    return max(names, key=lambda name: means[name].value, default=None)


def _value(by_name: Mapping[str, Result], modality: str) -> float | None:
    return by_name[modality].value if modality in by_name else None


def _percent(row: Result) -> str:
    return f"{100 * row.value:.1f} %"


def _gain(row: Comparison) -> str:
    return f"student {100 * row.difference:+.1f} points {interval(row.low, row.high, '+')}, p = {row.p:.3f}"
