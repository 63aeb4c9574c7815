"""Which wins say nothing, because an encoder that knows nothing does as well."""

from typing import Any

from mmkd.evaluation.format.results import NULLS, UNCLEARED
from mmkd.evaluation.summary.scores import Scores, deciding_metric, direction, with_note
from mmkd.evaluation.tasks.task import Task
from mmkd.statistics.bootstrap import percentile_interval


def marked(scores: Scores, task: Task[Any], confidence: float) -> Scores:
    """A note on the deciding metric of each model whose paired difference to the best null has an interval that does
    not lie above zero. The best null is the one that scores highest on these very samples."""
    metric, nulls = deciding_metric(scores, task), [model for model in scores.estimates if model in NULLS]
    if not nulls:
        return scores
    sign = direction(task, metric)
    best = max(nulls, key=lambda model: sign * scores.estimates[model][metric].value)
    null = scores.estimates[best][metric]
    for model in [model for model in scores.estimates if model not in NULLS]:
        gain_B = sign * (scores.estimates[model][metric].replicate_B - null.replicate_B)
        low = percentile_interval(gain_B, confidence).low
        if low is None or low <= 0:
            scores = with_note(scores, model, metric, f"{UNCLEARED}: {best} {null.value:.2f}")
    return scores
