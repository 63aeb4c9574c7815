"""What only some tasks show: confusion, calibration, prompts, label efficiency, blind baselines, survival."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mmkd.errors import DataError
from mmkd.evaluation.format.numbers import MISSING, metric_label, p_text, scale_of, spread
from mmkd.evaluation.format.results import MEAN, Result
from mmkd.evaluation.survival.forecast import risk_groups
from mmkd.evaluation.tasks.conformal_sets import COVERAGE, groups_needed
from mmkd.evaluation.tasks.conformal_sets import METRICS as SET_METRICS
from mmkd.evaluation.tasks.linear_probe import AT_SHARE
from mmkd.evaluation.tasks.table import TASKS
from mmkd.evaluation.tasks.task import Detail as DetailKind
from mmkd.evaluation.tasks.vqa import CONTROL_METRICS
from mmkd.evaluation.tasks.zero_shot import PROMPT_METRICS
from mmkd.report import curves, maps, robustness
from mmkd.report.plot import Figure
from mmkd.report.source import Evaluated
from mmkd.report.view import Cell, Row, Table
from mmkd.statistics.calibration import reliability_curve

MOST_CLASSES = 40
WITHOUT_SETS = f"no val split with {groups_needed()} groups (patients) or more, or several classes a sample"


@dataclass(frozen=True)
class Detail:
    """A part of a task's section. says: a sentence below the heading. notes: lines below all figures."""

    heading: str
    says: str
    figures: Sequence[Figure] = ()
    table: Table | None = None
    notes: Sequence[str] = ()


Maker = Callable[[Evaluated, str], Detail]


def details(evaluated: Evaluated, task: str) -> list[Detail]:
    made = [DETAILS[kind](evaluated, task) for kind in (TASKS[task].details if task in TASKS else ())]
    return [one for one in made if one.figures or one.table or one.notes]


def confusion(evaluated: Evaluated, task: str) -> Detail:
    drawn = []
    for predictions in evaluated.predictions(task):
        scores = TASKS[task].class_scores(predictions.columns)
        if scores is not None and 1 < len(scores.classes) <= MOST_CLASSES:
            name, count_CC = predictions.facts.dataset, scores.confusion()
            share = count_CC.trace() / count_CC.sum()
            says = f"On {name}: {share:.1%} on the diagonal, {_worst_pair(scores.classes, count_CC.tolist())}."
            drawn.append(Figure(f"{task}-confusion-{name}", maps.confusion_plot(scores.classes, count_CC), says))
    says = f"Predictions of {evaluated.named}: a row per true class, a column per predicted class."
    return Detail("Confusion matrix", says, drawn)


def reliability(evaluated: Evaluated, task: str) -> Detail:
    drawn = []
    for predictions in evaluated.predictions(task):
        scores = TASKS[task].class_probabilities(predictions.columns)
        if scores is not None:
            confidence_N = scores.score_NC.max(axis=1).clip(0, 1)
            bins = reliability_curve(confidence_N, scores.predicted() == scores.label_N)
            ece = sum(one.count * abs(one.confidence - one.correct) for one in bins) / len(confidence_N)
            name = predictions.facts.dataset
            says = f"On {name}: expected calibration error {ece:.3f}."
            drawn.append(Figure(f"{task}-reliability-{name}", curves.reliability_plot(bins), says))
    says = (
        f"Confidence of {evaluated.named} against its accuracy, in bins; a larger mark holds more samples. The dotted "
        "line is perfect calibration."
    )
    return Detail("Reliability diagram", says, drawn)


def conformal(evaluated: Evaluated, task: str) -> Detail:
    found: dict[str, dict[str, dict[str, Result]]] = {}
    for row in evaluated.of_task(task):
        if row.metric in SET_METRICS and row.dataset != MEAN:
            found.setdefault(row.dataset, {}).setdefault(row.model, {})[row.metric] = row
    lines = []
    for name, of_set in found.items():
        lines.append(Row(name, kind="group"))
        for model in evaluated.order(of_set):
            cells = [Cell(spread(of_set[model][metric])) for metric in SET_METRICS]
            lines.append(Row(model, cells, evaluated.row_kind(model)))
    lacking = sorted({row.dataset for row in evaluated.of_task(task) if row.dataset != MEAN} - set(found))
    says = (
        f"Sets of classes meant to have the true one in {COVERAGE:.0%} of new cases, limits from the val split: the "
        "share that do on test, and their mean number of classes. At equal coverage smaller sets are better."
    )
    notes = [f"Not available on {', '.join(lacking)}: {WITHOUT_SETS}."] if lacking else []
    heads = ["", *(metric_label(metric).replace("lac", "LAC").replace("aps", "APS") for metric in SET_METRICS)]
    return Detail("Conformal sets", says, table=Table(heads, lines) if lines else None, notes=notes)


def corruptions(evaluated: Evaluated, task: str) -> Detail:
    says = (
        "Test pictures made worse in the ways of their modality, five severities each; all models see the same ones. "
        "Severities are not those of published benchmarks."
    )
    if not any(row.is_counted for row in evaluated.of_task(task)):  # no data set to average over
        return Detail("Corruptions", says)
    table, figure = robustness.by_family(evaluated, task), robustness.by_severity(evaluated, task)
    return Detail("Corruptions", says, [figure], table)


def prompts(evaluated: Evaluated, task: str) -> Detail:
    shown = (*PROMPT_METRICS, "accuracy")
    rows = [row for row in evaluated.of_task(task) if row.metric in shown and row.dataset != MEAN]
    by_set = _by_data_set([row for row in rows if row.model == evaluated.main])
    lines = [
        Row(name, [_value(found.get(metric)) for metric in shown])
        for name, found in by_set.items()
        if PROMPT_METRICS[0] in found
    ]
    heads = ["", "worst prompt, %", "median prompt, %", "best prompt, %", "ensemble, %"]
    says = f"Accuracy of {evaluated.named} with each single prompt and with the ensemble of all prompts."
    return Detail("Prompt sensitivity", says, table=Table(heads, lines) if lines else None)


def label_shares(evaluated: Evaluated, task: str) -> Detail:
    rows = [row for row in evaluated.of_task(task) if row.modality == MEAN]
    points: dict[str, list[tuple[float, float]]] = {}
    metric = ""
    for row in rows:
        if at := AT_SHARE.fullmatch(row.metric):
            metric = at["metric"]
            points.setdefault(row.model, []).append((float(at["percent"]) / 100, row.value))
    for row in rows:
        if row.metric == metric and row.model in points:
            points[row.model].append((1.0, row.value))
    drawn = []
    if points:
        ordered = {name: sorted(set(points[name])) for name in evaluated.order(points)}
        plot = curves.fractions_plot(ordered, metric, evaluated.main, evaluated.teachers)
        drawn.append(Figure(f"{task}-shares", plot, f"{metric_label(metric)}, mean over the data sets."))
    return Detail("Label efficiency", "The linear probe with a share of the training labels.", drawn)


def controls(evaluated: Evaluated, task: str) -> Detail:
    rows = [row for row in evaluated.of_task(task) if row.modality == MEAN and row.metric in CONTROL_METRICS]
    by_model = {
        model: sorted((row for row in rows if row.model == model), key=lambda row: CONTROL_METRICS.index(row.metric))
        for model in evaluated.order(row.model for row in rows)
    }
    heading, says = "Blind baselines", "Accuracy beside that of the question alone, a blank image and another image."
    metrics = [name for name in CONTROL_METRICS if name in {row.metric for row in rows}]
    if len(metrics) < 2:
        return Detail(heading, says)
    lines = [
        Row(model, [Cell(spread(row)) for row in found], evaluated.row_kind(model))
        for model, found in by_model.items()
        if len(found) == len(metrics)
    ]
    table = Table(["", *map(metric_label, metrics)], lines, "mean over the data sets")
    drawn = Figure(f"{task}-controls", curves.controls_plot(by_model), "Accuracy, mean over the data sets.")
    return Detail(heading, says, [drawn], table)


def survival(evaluated: Evaluated, task: str) -> Detail:
    drawn, notes = [], []
    for predictions in evaluated.every_prediction(task):
        try:
            groups = risk_groups(predictions)
        except DataError as error:  # all risks equal, or no event: there are no two curves to draw
            notes.append(f"Not drawn: {error}.")
            continue
        name, model = predictions.facts.dataset, predictions.facts.model
        events = sum(int(curve.event_U.sum()) for curve in groups.curves.values())
        patients = sum(int(curve.at_risk_U[0]) for curve in groups.curves.values())
        says = f"On {name}, {model}: {events:,} events of {patients:,} patients, log-rank {p_text(groups.test.p)}."
        drawn.append(Figure(f"{task}-km-{name}-{model}", curves.survival_plot(groups.curves), says))
    says = "Patients above and below the median predicted risk of their fold; ticks mark censored patients."
    return Detail("Kaplan-Meier curves", says, drawn, notes=notes)


DETAILS: dict[DetailKind, Maker] = {
    "prompt_sensitivity": prompts,
    "reliability_diagram": reliability,
    "conformal_sets": conformal,
    "corruptions": corruptions,
    "confusion_matrix": confusion,
    "label_efficiency": label_shares,
    "input_controls": controls,
    "kaplan_meier": survival,
}


def _by_data_set(rows: Sequence[Result]) -> dict[str, dict[str, Result]]:
    found: dict[str, dict[str, Result]] = {}
    for row in rows:
        found.setdefault(row.dataset, {})[row.metric] = row
    return found


def _value(row: Result | None) -> Cell:
    return Cell(MISSING) if row is None else Cell(scale_of(row.metric).value(row.value))


def _worst_pair(classes: Sequence[str], count_CC: Sequence[Sequence[int]]) -> str:
    """The most frequent confusion, in words."""
    size = range(len(classes))
    wrong: Mapping[tuple[int, int], int] = {(a, b): count_CC[a][b] for a in size for b in size if a != b}
    (true, predicted), count = max(wrong.items(), key=lambda item: item[1])
    if not count:
        return "no class is confused with another"
    return f"most often {classes[true]} is predicted as {classes[predicted]} ({count} of {sum(count_CC[true])})"
