"""What only one kind of task has to show: confusion, reliability, prompts, label shares, controls, survival."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from mmkd.errors import DataError
from mmkd.evaluation.format.results import MEAN, Result, metric_label
from mmkd.evaluation.survival.curves import risk_groups
from mmkd.evaluation.tasks.linear_probe import AT_SHARE
from mmkd.evaluation.tasks.table import TASKS
from mmkd.evaluation.tasks.task import Detail
from mmkd.evaluation.tasks.vqa import CONTROL_METRICS
from mmkd.evaluation.tasks.zero_shot import PROMPT_METRICS
from mmkd.report import curves, maps, markup
from mmkd.report.markup import Cell, Line
from mmkd.report.numbers import MISSING, p_text, scale_of, spread
from mmkd.report.source import Evaluated
from mmkd.statistics.calibration import reliability_curve

Drawn = Callable[[Evaluated, str], Iterator[str]]
MOST_CLASSES = 40
OPEN_FIGURES = 6  # of one kind; more are folded away
MOST_FIGURES = 24  # of one kind, so that a page on many data sets can still be opened


def details(evaluated: Evaluated, task: str) -> Iterator[str]:
    """All that there is something to show of."""
    for detail in TASKS[task].details if task in TASKS else ():
        yield from DETAILS[detail](evaluated, task)


def confusion(evaluated: Evaluated, task: str) -> Iterator[str]:
    drawn = []
    for predictions in evaluated.predictions(task):
        scores = TASKS[task].class_scores(predictions.columns)
        if scores is not None and 1 < len(scores.classes) <= MOST_CLASSES:
            name, count_CC = predictions.facts.dataset, scores.confusion()
            share = count_CC.trace() / count_CC.sum()
            says = f"On {name}: {share:.1%} on the diagonal, {_worst_pair(scores.classes, count_CC.tolist())}."
            figure = maps.confusion_figure(scores.classes, count_CC)
            drawn.append(markup.figure(f"{task}-confusion-{name}", figure, says))
    yield from _side_by_side(f"What {evaluated.named} takes for what (rows: the true class)", drawn)


def reliability(evaluated: Evaluated, task: str) -> Iterator[str]:
    drawn = []
    for predictions in evaluated.predictions(task):
        scores = TASKS[task].class_probabilities(predictions.columns)
        if scores is not None:
            confidence_N = scores.score_NC.max(axis=1).clip(0, 1)
            bins = reliability_curve(confidence_N, scores.predicted() == scores.label_N)
            ece = sum(one.count * abs(one.confidence - one.correct) for one in bins) / len(confidence_N)
            name = predictions.facts.dataset
            says = (
                f"On {name}: mean gap between confidence and share correct {ece:.3f}; on the dotted line there is none."
            )
            drawn.append(markup.figure(f"{task}-reliability-{name}", curves.reliability_figure(bins), says))
    yield from _side_by_side(f"How far to believe the probabilities of {evaluated.named}", drawn)


def prompts(evaluated: Evaluated, task: str) -> Iterator[str]:
    rows = [
        row for row in evaluated.of_task(task) if row.metric in (*PROMPT_METRICS, "accuracy") and row.dataset != MEAN
    ]
    by_set = _by_data_set([row for row in rows if row.model == evaluated.main])
    lines = [
        Line(name, [_value(found.get(metric)) for metric in (*PROMPT_METRICS, "accuracy")])
        for name, found in by_set.items()
        if PROMPT_METRICS[0] in found
    ]
    if lines:
        yield markup.heading(3, "How much hangs on the wording")
        heads = ["", "worst prompt, %", "median prompt, %", "best prompt, %", "all together, %"]
        yield markup.table(heads, lines, f"accuracy of {evaluated.named} with single prompts and with their ensemble")


def label_shares(evaluated: Evaluated, task: str) -> Iterator[str]:
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
    if points:
        ordered = {name: sorted(set(points[name])) for name in evaluated.order(points)}
        yield markup.heading(3, "With fewer labels")
        drawn = curves.fractions_figure(ordered, metric, evaluated.main, evaluated.teachers)
        says = f"{metric_label(metric)}, mean over the data sets, by the share of the training labels that were used."
        yield markup.figure(f"{task}-shares", drawn, says)


def controls(evaluated: Evaluated, task: str) -> Iterator[str]:
    rows = [row for row in evaluated.of_task(task) if row.modality == MEAN and row.metric in CONTROL_METRICS]
    by_model = {
        model: sorted((row for row in rows if row.model == model), key=lambda row: CONTROL_METRICS.index(row.metric))
        for model in evaluated.order(row.model for row in rows)
    }
    if len({row.metric for row in rows}) < 2:
        return
    yield markup.heading(3, "Does the answer come from the picture?")
    says = "Accuracy beside that of the question alone, of a blank picture and of somebody else's picture."
    yield markup.figure(f"{task}-controls", curves.controls_figure(by_model), says)
    lines = [
        Line(model, [Cell(spread(row)) for row in found], evaluated.row_kind(model))
        for model, found in by_model.items()
        if len(found) == len({row.metric for row in rows})
    ]
    heads = ["", *(metric_label(name) for name in CONTROL_METRICS if name in {row.metric for row in rows})]
    yield markup.table(heads, lines, "mean over the data sets")


def survival(evaluated: Evaluated, task: str) -> Iterator[str]:
    drawn, untold = [], []
    for predictions in evaluated.every_prediction(task):
        try:
            groups = risk_groups(predictions)
        except DataError as error:  # all risks equal, or no event: there are no two curves to draw
            untold.append(str(error))
            continue
        name, model = predictions.facts.dataset, predictions.facts.model
        says = (
            f"On {name}, {model}: patients above and below the median risk of their fold, "
            f"log-rank {p_text(groups.test.p)}."
        )
        drawn.append(markup.figure(f"{task}-km-{name}-{model}", curves.survival_figure(groups.curves), says))
    yield from _side_by_side("Survival by predicted risk", drawn)
    yield from (markup.paragraph(f"Not drawn: {reason}.", kind="muted") for reason in untold)


DETAILS: dict[Detail, Drawn] = {
    "prompt_sensitivity": prompts,
    "reliability_diagram": reliability,
    "confusion_matrix": confusion,
    "label_efficiency": label_shares,
    "input_controls": controls,
    "kaplan_meier": survival,
}


def _side_by_side(title: str, drawn: Sequence[str]) -> Iterator[str]:
    if drawn:
        yield markup.heading(3, title)
        yield markup.grid(drawn[:OPEN_FIGURES])
        if folded := drawn[OPEN_FIGURES:MOST_FIGURES]:
            yield markup.folded(f"{len(folded)} more data sets", [markup.grid(folded)])
        if len(drawn) > MOST_FIGURES:
            left = len(drawn) - MOST_FIGURES
            yield markup.paragraph(f"{left} more are not drawn; their predictions are kept.", kind="muted")


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
    (true, said), count = max(wrong.items(), key=lambda item: item[1])
    if not count:
        return "nothing is confused"
    return f"most often {classes[true]} is called {classes[said]} ({count} of {sum(count_CC[true])})"
