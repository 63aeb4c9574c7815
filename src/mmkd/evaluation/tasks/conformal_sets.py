"""Conformal sets of the test samples, from the val split: whether each has the true class, and its size.

N samples, C classes, V samples of val.
"""

from collections.abc import Sequence

import numpy as np

from mmkd.evaluation.tasks.task import Columns
from mmkd.randomness import Purpose, generator
from mmkd.statistics.bootstrap import group_numbers
from mmkd.statistics.calibration import fit_temperature
from mmkd.statistics.conformal import (
    cumulative_scores,
    fewest_groups,
    in_cumulative_sets,
    in_sets,
    score_limit,
    threshold,
)
from mmkd.statistics.metrics import Array, weighted_mean

COVERAGE = 0.9  # that the sets aim at
METHODS = ("lac", "aps")
HAS, SIZE = "conformal_has:", "conformal_size:"  # columns of each method: the set has the true class; its classes
LEAST_FOR_TEMPERATURE = 20  # groups
METRICS = tuple(f"{method}_{word}" for method in METHODS for word in ("coverage", "set_size"))
LOWER_IS_BETTER = tuple(name for name in METRICS if name.endswith("set_size"))
PROTOCOL = (
    f"{{lac,aps}}_coverage, _set_size = share of the conformal sets that have the true class and their mean number of "
    f"classes, {COVERAGE:.0%} asked, by split conformal prediction: a third of val's groups (patients) for the "
    "temperature, the others for the limit, each group weighing the same"
)


def groups_needed() -> int:
    """Of the val split: a third, and 20 at least, fit the temperature; the others have to be enough for the limit."""
    enough = fewest_groups(COVERAGE)
    return max(enough + LEAST_FOR_TEMPERATURE, int(np.ceil(1.5 * enough)))


def set_columns(
    val_VC: Array, val_label_V: Array, val_group: Sequence[str], score_NC: Array, label_N: Array, card: str, seed: int
) -> tuple[dict[str, Array], str]:
    """The columns of both methods, or none and why. val_VC, score_NC: scores that a temperature makes probabilities of.

    val_group: of each sample of val, "" for a group of its own. card: id of the data set, which names the draw.
    """
    from scipy.special import softmax  # where it is needed: recipes are read without scipy

    group_V = group_numbers(val_group)
    groups = int(group_V.max()) + 1
    if groups < groups_needed():
        return {}, f"no conformal sets: val has {groups} groups, {groups_needed()} are needed"
    place_G = generator(seed, Purpose.CONFORMAL_VAL, card).permutation(groups)
    first_V = (place_G < max(LEAST_FOR_TEMPERATURE, groups // 3))[group_V]
    temperature = fit_temperature(val_VC[first_V], val_label_V[first_V]).value
    known_VC, wanted_NC = (
        softmax(one.astype(np.float64) / temperature, axis=1) for one in (val_VC[~first_V], score_NC)
    )
    group_V, true_V1 = group_V[~first_V], val_label_V[~first_V, None].astype(np.int64)
    least = threshold(np.take_along_axis(known_VC, true_V1, axis=1)[:, 0], group_V, COVERAGE)
    strange_V = np.take_along_axis(cumulative_scores(known_VC), true_V1, axis=1)[:, 0]
    sets = {
        "lac": in_sets(wanted_NC, least),
        "aps": in_cumulative_sets(wanted_NC, score_limit(strange_V, group_V, COVERAGE)),
    }
    columns: dict[str, Array] = {}
    for method, in_NC in sets.items():
        columns[f"{HAS}{method}"] = in_NC[np.arange(len(label_N)), label_N]
        columns[f"{SIZE}{method}"] = in_NC.sum(axis=1).astype(np.int32)
    return columns, ""


def set_metrics(columns: Columns, weight_BN: Array) -> dict[str, Array]:
    """Coverage and mean size by both methods, each (B,); nothing without their columns."""
    if f"{HAS}{METHODS[0]}" not in columns:
        return {}
    found: dict[str, Array] = {}
    for method in METHODS:
        found[f"{method}_coverage"] = weighted_mean(columns[f"{HAS}{method}"], weight_BN)
        found[f"{method}_set_size"] = weighted_mean(columns[f"{SIZE}{method}"], weight_BN)
    return found
