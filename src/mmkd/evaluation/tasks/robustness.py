"""Zero-shot classification of corrupted pictures; N samples, C classes, F families, K columns, B replicates."""

import numpy as np

from mmkd.cards.card import Card
from mmkd.evaluation.corruptions.families import SEVERITIES
from mmkd.evaluation.format.predictions import Predicted
from mmkd.evaluation.models.embeddings import EmbeddedDataSet
from mmkd.evaluation.tasks import classes
from mmkd.evaluation.tasks.task import Columns, NoSettings, Task
from mmkd.evaluation.tasks.zero_shot import scores_of
from mmkd.statistics.metrics import Array, group_sums, ratio, weighted_sums

NAME, OF = "robustness", "zero_shot"
CLEAN = "clean"  # column: whether the highest score of the picture itself is right
AT = "corrupted:"  # and `corrupted:FAMILY:SEVERITY`, the same of the corrupted picture
PRIMARY = "corrupted_accuracy"
CLEAN_ACCURACY = "clean_accuracy"
CLEAN_ERROR, ERROR_AT = "clean_balanced_error", "balanced_error@"
ACCURACY_AT, SEVERITY_AT = "accuracy@", "accuracy@severity:"
MEAN_ERROR, RELATIVE_ERROR = "mean_corruption_error", "relative_corruption_error"  # with a baseline
LOWER_IS_BETTER = ("accuracy_drop", "relative_drop", CLEAN_ERROR, MEAN_ERROR, RELATIVE_ERROR)


def _predict(embedded: EmbeddedDataSet[NoSettings]) -> Predicted:
    """variants: the test samples at every severity of a family, one severity after the other."""
    card, samples = embedded.card, embedded.split("test")
    prompts, truth = [entry.prompts for entry in card.classes], classes.truth_of(card, samples)
    columns = classes.truth_columns(card, samples)
    columns[CLEAN] = classes.top_class_correct(scores_of(embedded, samples, prompts), truth)
    for family, read in embedded.variants.items():
        seen = read()
        of_severity = np.split(scores_of(seen, seen.samples, prompts), len(SEVERITIES))
        for severity, score_NC in zip(SEVERITIES, of_severity, strict=True):
            columns[f"{AT}{family}:{severity}"] = classes.top_class_correct(score_NC, truth)
    return Predicted.of(samples, columns)


def families_in(columns: Columns) -> list[str]:
    return list(dict.fromkeys(name.split(":")[1] for name in columns if name.startswith(AT)))


def _measure(columns: Columns, weight_BN: Array) -> dict[str, Array]:
    truth, families = classes.truth_in(columns), families_in(columns)
    counted_N = np.ones(len(truth), bool) if truth.ndim == 1 else truth.any(axis=1)  # of no class, nothing is right
    cells = {(family, s): columns[f"{AT}{family}:{s}"] for family in families for s in SEVERITIES}
    correct_NK = np.stack([columns[CLEAN], *cells.values(), np.ones(len(truth), bool)], axis=1)[counted_N]
    sum_BK = weighted_sums(weight_BN[:, counted_N], correct_NK)
    share_BK = ratio(sum_BK[:, :-1], sum_BK[:, -1:])
    clean_B, cell_BFS = share_BK[:, 0], share_BK[:, 1:].reshape(-1, len(families), len(SEVERITIES))
    corrupted_B = cell_BFS.mean(axis=(1, 2))
    lost_B = clean_B - corrupted_B
    measured = {
        PRIMARY: corrupted_B,
        CLEAN_ACCURACY: clean_B,
        "accuracy_drop": lost_B,
        "relative_drop": np.where(clean_B == 0, 0.0, ratio(lost_B, clean_B)),  # nothing was there to be lost
    }
    measured |= {f"{SEVERITY_AT}{s}": cell_BFS[:, :, place].mean(axis=1) for place, s in enumerate(SEVERITIES)}
    for place, family in enumerate(families):
        measured[f"{ACCURACY_AT}{family}"] = cell_BFS[:, place].mean(axis=1)
        measured |= {f"{ACCURACY_AT}{family}:{s}": cell_BFS[:, place, at] for at, s in enumerate(SEVERITIES)}
    return measured | (_balanced(columns, families, truth, weight_BN) if truth.ndim == 1 else {})


def _balanced(columns: Columns, families: list[str], label_N: Array, weight_BN: Array) -> dict[str, Array]:
    """Balanced error, 1 - the mean over the classes of the share that is right: clean, and of each family the mean
    over its severities, as in MedMNIST-C."""
    names = [CLEAN_ERROR, *(f"{ERROR_AT}{family}" for family in families)]
    right = [columns[CLEAN], *(np.mean([columns[f"{AT}{one}:{s}"] for s in SEVERITIES], axis=0) for one in families)]
    _, number_N = np.unique(label_N, return_inverse=True)
    member_BC = group_sums(weight_BN, number_N)
    found: dict[str, Array] = {name: np.zeros(len(weight_BN)) for name in names}
    for c in range(member_BC.shape[1]):
        rows = number_N == c
        sum_BK = weighted_sums(weight_BN[:, rows], np.stack([one[rows] for one in right], axis=1))
        share_BK = ratio(sum_BK, member_BC[:, c : c + 1])
        for k, name in enumerate(names):
            found[name] = found[name] + (1 - share_BK[:, k]) / member_BC.shape[1]
    return found


def _complaint(card: Card) -> str:
    return f"is no task of a card: '[evaluate] corruptions' asks for it on every card with the task {OF}"


def is_detailed(metric: str) -> bool:
    """Whether the report shows it by family and severity, and not in the table of all metrics."""
    return metric.startswith((ACCURACY_AT, ERROR_AT)) or metric == CLEAN_ERROR


TASK = Task(
    title="Robustness to corruptions",
    settings=NoSettings,
    complaint=_complaint,
    labels=classes.labels_of,
    predict=_predict,
    measure=_measure,
    primary=PRIMARY,
    shares=(PRIMARY, CLEAN_ACCURACY),  # of the first, a unit is right where it is at every family and severity
    printed=(PRIMARY, CLEAN_ACCURACY, "relative_drop"),
    lower_is_better=LOWER_IS_BETTER,
    derived_from=OF,
    detailed=is_detailed,
    details=("corruptions",),
    protocol="zero-shot classification of the test pictures, alike for all models, at five severities of each family "
    "that MedMNIST-C names for the modality; own implementation and severities, not comparable with published figures; "
    "corrupted_accuracy = mean over families and severities; relative_drop = lost share of the clean accuracy; "
    "balanced_error = 1 - balanced accuracy; with a baseline mean_ and relative_corruption_error = BE and rBE of "
    "MedMNIST-C",
)
