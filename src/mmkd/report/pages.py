"""The report of an evaluation: one page, and its tables as files, from what lies on disk."""

from collections.abc import Mapping
from pathlib import Path

from mmkd.evaluation.format.results import MEAN, NULLS, OF_TEACHERS
from mmkd.report import curves, maps
from mmkd.report.data_section import cards_section, leakage_section, map_section, subsets_section
from mmkd.report.overall import overall_view
from mmkd.report.pictures import pictures_section
from mmkd.report.plot import Figure
from mmkd.report.render import counted, sectioned, write_page
from mmkd.report.run_folder import PAGE
from mmkd.report.source import Evaluated, read_evaluated, task_title
from mmkd.report.source import ReportContext as ReportContext
from mmkd.report.summary import summary
from mmkd.report.table_files import write_tables
from mmkd.report.task_section import task_section
from mmkd.report.view import Section, Table, text_table
from mmkd.training.records.curves import TOTAL, points
from mmkd.training.records.metrics_log import read_metrics

FIGURE = '<figure class="plot"'


def write_report(evaluate_folder: Path, folder: Path, context: ReportContext) -> dict[str, int]:
    """Write `folder/index.html` and `folder/tables/*` from a finished evaluation; returns counts.

    Raises DataError if it is none, or one of its files is damaged. Equal evaluations make equal pages.
    """
    evaluated = read_evaluated(evaluate_folder, context)
    page = report_page(evaluated, context)
    tables = write_tables(evaluated, folder)
    write_page(folder / PAGE, page)
    return {
        "results": len(evaluated.results) + len(evaluated.subsets),
        "comparisons": len(evaluated.comparisons),
        "figures": page.count(FIGURE),
        "tables": tables,
    }


def report_page(evaluated: Evaluated, context: ReportContext) -> str:
    found = summary(evaluated)
    sections = [
        Section("summary", found["question"] or "Summary", found, "summary"),
        Section("overall", "Ranks over all tasks", overall_view(evaluated), "overall"),
        *(Section(task, task_title(task), task_section(evaluated, task), "task") for task in evaluated.tasks),
        Section("missing", "Not evaluated", _missing(evaluated), "table"),
        Section("subsets", "Subgroups and clean subsets", subsets_section(evaluated), "subsets"),
        Section("leakage", "Leakage", leakage_section(evaluated), "leakage"),
        Section("pictures", "Examples", pictures_section(evaluated), "pictures"),
        Section("map", "Embedding map", map_section(evaluated), "figure"),
        Section("reliability", "Teacher reliability by modality", _reliability(context), "reliability"),
        Section("training", "Training loss", _training(context), "figure"),
        Section("cards", "Data sets and their licences", cards_section(evaluated), "table"),
        Section("run", "Cost and licences", _run(evaluated, context), "run"),
    ]
    return sectioned("report.html", _title(evaluated, context), _what_was_measured(evaluated, context), (), sections)


def _title(evaluated: Evaluated, context: ReportContext) -> str:
    if not context.licences:
        return f"{context.recipe}: evaluation of {evaluated.main}"
    return f"{context.recipe}: {evaluated.main} and {counted(len(context.licences), 'teacher')}"


def _what_was_measured(evaluated: Evaluated, context: ReportContext) -> str:
    samples = {(row.dataset, row.task): row.n for row in evaluated.results if row.dataset != MEAN}
    data_sets = {dataset for dataset, _ in samples}
    models = {row.model for row in evaluated.results} - {*OF_TEACHERS, *NULLS}
    seed = "" if context.seed is None else f"; seed {context.seed}"
    numbers = [(len(models), "model"), (len(data_sets), "data set"), (len(evaluated.tasks), "task")]
    said = "{} on {}, {}".format(*(counted(number, what) for number, what in numbers))
    return (
        f"{said}, {counted(sum(samples.values()), 'prediction')} of each{seed}. In brackets: intervals of the "
        "bootstrap or exact ones; differences are paired, on the same draws."
    )


def _missing(evaluated: Evaluated) -> Table | None:
    rows = [[one.dataset, one.task, one.model or "all", one.reason] for one in evaluated.missing]
    return text_table(["data set", "task", "model", "reason"], rows) if rows else None


def _reliability(context: ReportContext) -> Figure | None:
    if not context.reliability:
        return None
    says = "Mean percentile of a pair's own caption among captions of the same modality, on the training corpus."
    return Figure("teacher-reliability", maps.reliability_map(context.reliability, list(context.licences)), says)


def _training(context: ReportContext) -> Figure | None:
    losses = {name: points(read_metrics(path), TOTAL) for name, path in context.curves}
    drawn = {name: found for name, found in losses.items() if found}
    says = "Losses of different objectives are not on one scale: compare shapes, not heights."
    return Figure("training-losses", curves.training_plot(drawn, "loss"), says) if drawn else None


def _run(evaluated: Evaluated, context: ReportContext) -> dict[str, Table | None]:
    manifest = evaluated.manifest
    rows = [["recipe", context.recipe]]
    if context.seed is not None:
        rows.append(["seed", str(context.seed)])
    for part in ("counts", "versions"):
        values = manifest.get(part)
        if isinstance(values, Mapping):
            rows.append([part, ", ".join(f"{name} {value}" for name, value in values.items())])
    licences = [[teacher, licence] for teacher, licence in context.licences.items()]
    return {
        "cost": text_table(["", ""], rows),
        "licences": text_table(["teacher", "licence"], licences) if licences else None,
    }
