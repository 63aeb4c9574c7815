"""The report of an evaluation: one page, and its tables as files, from what lies on disk."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mmkd.evaluation.format.results import BEST_TEACHER, MEAN, NULLS, TEACHERS_CONCAT
from mmkd.folders.atomic import atomic_file
from mmkd.report import curves, maps, markup
from mmkd.report.data_section import cards_section, leakage_section, map_section, subsets_section
from mmkd.report.pictures import pictures_section
from mmkd.report.run_folder import PAGE
from mmkd.report.source import Evaluated, read_evaluated, task_title
from mmkd.report.source import ReportContext as ReportContext
from mmkd.report.summary import summary
from mmkd.report.table_files import write_tables
from mmkd.report.task_section import task_section
from mmkd.training.records.curves import TOTAL, points
from mmkd.training.records.metrics_log import read_metrics

# in the order of the page: anchor, title in the contents, and what makes the section where there is something to show
Section = tuple[str, str, Callable[[Evaluated, ReportContext], Iterator[str]]]


def write_report(evaluate_folder: Path, folder: Path, context: ReportContext) -> dict[str, int]:
    """Write `folder/index.html` and `folder/tables/*` from a finished evaluation; returns counts.

    Raises DataError if it is none, or one of its files is damaged. Equal evaluations make equal pages.
    """
    evaluated = read_evaluated(evaluate_folder, context)
    body = page_body(evaluated, context)
    tables = write_tables(evaluated, folder)
    with atomic_file(folder / PAGE) as stream:
        stream.write(markup.page(f"mmkd report: {context.recipe}", body).encode())
    return {
        "results": len(evaluated.results) + len(evaluated.subsets),
        "comparisons": len(evaluated.comparisons),
        "figures": sum(part.count('class="plotly-graph-div"') for part in body),
        "tables": tables,
    }


def page_body(evaluated: Evaluated, context: ReportContext) -> list[str]:
    """Everything between head and foot."""
    made = {anchor: (title, list(section(evaluated, context))) for anchor, title, section in _sections(evaluated)}
    present = {anchor: title for anchor, (title, parts) in made.items() if parts}
    return [
        markup.heading(1, _title(evaluated, context)),
        markup.paragraph(_what_was_measured(evaluated, context), kind="muted"),
        markup.contents(present),
        *(part for _, parts in made.values() for part in parts),
    ]


def _sections(evaluated: Evaluated) -> list[Section]:
    return [
        ("summary", "Summary", lambda found, context: summary(found)),
        *((task, task_title(task), _of_task(task)) for task in evaluated.tasks),
        ("subsets", "Parts of the data", lambda found, context: subsets_section(found)),
        ("leakage", "Leaks", lambda found, context: leakage_section(found)),
        ("pictures", "Pictures", lambda found, context: pictures_section(found)),
        ("map", "Embeddings", lambda found, context: map_section(found)),
        ("calibration", "Teachers by modality", lambda found, context: _calibration(context)),
        ("training", "Training", lambda found, context: _training(context)),
        ("cards", "Data sets", lambda found, context: cards_section(found)),
        ("run", "Cost and licences", _run),
    ]


def _of_task(task: str) -> Callable[[Evaluated, ReportContext], Iterator[str]]:
    return lambda evaluated, context: task_section(evaluated, task)


def _title(evaluated: Evaluated, context: ReportContext) -> str:
    count = len(context.licences)
    if not count:
        return f"{context.recipe}: evaluation of {evaluated.main}"
    return f"{context.recipe}: {evaluated.main} and {count} {'teacher' if count == 1 else 'teachers'}"


def _what_was_measured(evaluated: Evaluated, context: ReportContext) -> str:
    samples = {(row.dataset, row.task): row.n for row in evaluated.results if row.dataset != MEAN}
    data_sets = {dataset for dataset, _ in samples}
    models = {row.model for row in evaluated.results} - {BEST_TEACHER, TEACHERS_CONCAT, *NULLS}
    seed = "" if context.seed is None else f"; seed {context.seed}"
    return (
        f"{len(models)} models on {len(data_sets)} data sets, {len(evaluated.tasks)} tasks, "
        f"{sum(samples.values()):,} predictions of each{seed}. In brackets: intervals of the bootstrap; differences "
        "are paired, on the same draws."
    )


def _calibration(context: ReportContext) -> Iterator[str]:
    if context.reliability:
        yield markup.heading(2, "Whom to believe about what", "calibration")
        says = (
            "How high each teacher ranks a pair's own caption among captions of the same modality, as the mean "
            "percentile on the training corpus: 0.50 is chance, and wrong captions in the corpus keep it below 1."
        )
        drawn = maps.calibration_figure(context.reliability, list(context.licences))
        yield markup.figure("calibration-of-teachers", drawn, says)


def _training(context: ReportContext) -> Iterator[str]:
    losses = {name: points(read_metrics(path), TOTAL) for name, path in context.curves}
    if drawn := {name: found for name, found in losses.items() if found}:
        yield markup.heading(2, "Training", "training")
        says = "Losses of different objectives are not on one scale: compare shapes, not heights."
        yield markup.figure("training-losses", curves.training_figure(drawn, "loss"), says)


def _run(evaluated: Evaluated, context: ReportContext) -> Iterator[str]:
    manifest = evaluated.manifest
    yield markup.heading(2, "Cost", "run")
    rows = [["evaluation took", f"{manifest.get('wall_s')} s"]]
    rows.append(["memory", f"{manifest.get('peak_memory_mb')} MiB at most"])
    rows.append(["recipe", context.recipe])
    if context.seed is not None:
        rows.append(["seed", str(context.seed)])
    for part in ("counts", "versions"):
        values = manifest.get(part)
        if isinstance(values, Mapping):
            rows.append([part, ", ".join(f"{name} {value}" for name, value in values.items())])
    yield markup.text_table(["", ""], rows)
    if context.licences:
        yield markup.heading(3, "Licences of the teachers")
        yield markup.paragraph("A student learns from all of them; check each before you use or share it.")
        yield markup.text_table(["teacher", "licence"], list(context.licences.items()))
