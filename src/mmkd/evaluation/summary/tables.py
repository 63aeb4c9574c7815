"""Results as plain-text tables: whole in a log, no name or number cut."""

import io
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from mmkd.evaluation.format.numbers import PERCENT, bounds, firsts_text, metric_label, rank_text, scale_of, shown_p
from mmkd.evaluation.format.results import (
    ALL,
    BEST_TEACHER,
    IN_GENERAL,
    MEAN,
    UNCLEARED,
    Comparison,
    Overall,
    Ranking,
    Result,
    by_modality,
    in_order,
    several_modalities,
)
from mmkd.evaluation.summary.comparisons import SIGNIFICANT, in_family
from mmkd.evaluation.tasks.table import TASKS

WIDE_ENOUGH = 1000  # rich needs a width; a table takes what its content needs
MOST = 8  # metrics in one table
Titled = tuple[str, Table]


def printed(
    results: Sequence[Result],
    comparisons: Sequence[Comparison],
    teachers: Sequence[str],
    rankings: Sequence[Ranking] = (),
    overall: Sequence[Overall] = (),
) -> str:
    """For every task: its primary metric by modality, its main metrics, the models' ranks; then one against all, and
    mean ranks over all tasks and data sets."""
    tables: list[Titled] = []
    for task in dict.fromkeys(row.task for row in results):
        mine = [row for row in results if row.task == task]
        if any(row.is_counted for row in mine):
            tables += [modality_table(mine, task, teachers), *metric_tables(mine, task, teachers)]
        tables += notes_table(mine, task)
        tables += [rank_table(ranking) for ranking in rankings if ranking.task == task]
    tables += [*gain_tables(comparisons), *overall_tables(overall)]
    return "\n\n".join(f"{title}\n{_text(table)}" for title, table in tables)


def modality_table(results: Sequence[Result], task: str, teachers: Sequence[str]) -> Titled:
    """The task's primary metric: a row per model, a column per modality, and the mean over the data sets."""
    metric = TASKS[task].primary
    rows = by_modality(results, task, metric)
    modalities = several_modalities(rows)
    table = _table([*modalities, "mean [interval]"])
    for model in in_order(rows, teachers):
        cells = [_marked(rows[model].get(name)) for name in modalities]
        table.add_row(model, *cells, _spread(rows[model].get(MEAN)))
    mark = f"; * {UNCLEARED}" if any(UNCLEARED in row.note for found in rows.values() for row in found.values()) else ""
    return f"{TASKS[task].title}: {_with_unit(metric)}{mark}", table


def metric_tables(results: Sequence[Result], task: str, teachers: Sequence[str]) -> Iterator[Titled]:
    """The task's main metrics: a row per model, a column per metric, means over the data sets, where there are any."""
    means = {
        (row.model, row.metric): row for row in results if (row.modality, row.task, row.subset) == (MEAN, task, ALL)
    }
    known = list(dict.fromkeys(metric for _, metric in means))
    metrics = [name for name in TASKS[task].printed or known if name in known][:MOST]
    table = _table([_with_unit(name) for name in metrics])
    for model in in_order((name for name, _ in means), teachers):
        table.add_row(model, *(_value(means.get((model, metric))) for metric in metrics))
    more = f" ({len(known) - len(metrics)} more in results.jsonl)" if len(known) > len(metrics) else ""
    if metrics:
        yield f"{TASKS[task].title}: mean over the data sets{more}", table


def notes_table(results: Sequence[Result], task: str) -> list[Titled]:
    """What is said of each data set, where the task's numbers say little without: events of patients."""
    rows = [row for row in results if (row.task, row.subset) == (task, ALL) and row.dataset != MEAN]
    rows = [row for row in rows if row.model != BEST_TEACHER]  # its note tells which one that is
    notes = dict.fromkeys((row.dataset, said) for row in rows if (said := _of_the_data(row.note)))
    if not (TASKS[task].noted and notes):
        return []
    table = _table(["note"], "data set")
    for name, said in notes:
        table.add_row(name, said)
    return [(f"{TASKS[task].title}: the data sets", table)]


def _of_the_data(note: str) -> str:
    return "; ".join(part for part in note.split("; ") if not part.startswith(UNCLEARED))


def rank_table(ranking: Ranking) -> Titled:
    """Mean ranks over the data sets, best first."""
    table = _table(["mean rank"])
    for model, rank in zip(ranking.models, ranking.mean_ranks, strict=True):
        table.add_row(model, f"{rank:.2f}")
    title = (
        f"{TASKS[ranking.task].title}: ranks by {metric_label(ranking.metric)} on {ranking.data_sets} data sets; "
        f"Friedman p = {shown_p(ranking.p)}; ranks {ranking.difference:.2f} apart differ (Nemenyi)"
    )
    return title, table


def overall_tables(rows: Sequence[Overall]) -> Iterator[Titled]:
    """Mean ranks and numbers of firsts over the settings of all tasks, best first."""
    rows = [row for row in rows if row.task == ALL]
    if not rows:
        return
    table = _table(["mean rank [interval]", "firsts [interval]"])
    for row in rows:
        table.add_row(row.model, rank_text(row), firsts_text(row))
    first = rows[0]
    yield f"All tasks: ranks in {first.settings} settings (task x data set) on {first.data_sets} data sets", table


def gain_tables(comparisons: Sequence[Comparison]) -> Iterator[Titled]:
    """For every task: one model minus each other model, primary metric, mean over the data sets; and on how many data
    sets it is better or worse."""
    for task in dict.fromkeys(row.task for row in comparisons):
        metric = TASKS[task].primary
        mine = [row for row in comparisons if (row.task, row.metric) == (task, metric)]
        if any(_is_mean(row, ALL) for row in mine):
            what = "points" if scale_of(metric) == PERCENT else "difference"
            title = f"{TASKS[task].title}: {mine[0].model} minus rival, {metric_label(metric)} on average, {what}"
            yield f"{title}; + and -: p < {SIGNIFICANT} after Holm", _gain_table(mine)


def _gain_table(rows: Sequence[Comparison]) -> Table:
    """rows: one task and metric."""
    general = {row.rival: row for row in rows if _is_mean(row, IN_GENERAL)}
    table = _table(["difference [interval]", "p", *["in general"] * bool(general), "sets: + / - / all"], "rival")
    for row in [row for row in rows if _is_mean(row, ALL)]:
        wide = [bounds(general[row.rival])] if row.rival in general else [""] * bool(general)
        table.add_row(row.rival, _difference(row), shown_p(row.p), *wide, _tally(rows, row.rival))
    return table


def _is_mean(row: Comparison, subset: str) -> bool:
    return (row.modality, row.subset) == (MEAN, subset)


def _tally(rows: Sequence[Comparison], rival: str) -> str:
    """Data sets of the mean on which the model is better, worse, and all."""
    single = [row for row in rows if row.rival == rival and row.is_counted and in_family(row)]
    sure = [row.difference > 0 for row in single if row.p_holm is not None and row.p_holm < SIGNIFICANT]
    return f"{sum(sure)} / {len(sure) - sum(sure)} / {len(single)}"


def _table(columns: Sequence[str], first: str = "model") -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _with_unit(metric: str) -> str:
    return f"{metric_label(metric)}{scale_of(metric).unit}"


def _value(row: Result | None) -> str:
    return "-" if row is None else scale_of(row.metric).value(row.value)


def _marked(row: Result | None) -> str:
    return _value(row) + ("*" if row is not None and UNCLEARED in row.note else "")


def _spread(row: Result | None) -> str:
    return f"{_marked(row)} {'' if row is None else bounds(row)}".rstrip()


def _difference(row: Comparison) -> str:
    return f"{scale_of(row.metric).signed(row.difference)} {bounds(row)}".rstrip()


def _text(table: Table) -> str:
    stream = io.StringIO()
    Console(file=stream, width=WIDE_ENOUGH, color_system=None, markup=False).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().strip("\n").splitlines())
