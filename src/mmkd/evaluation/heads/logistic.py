"""Logistic regression on frozen features, multinomial or one for each label.

N samples, D features, C classes of the card, S classes among the training samples, K penalties.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmkd.errors import DataError
from mmkd.evaluation.heads.folds import stratified_group_folds
from mmkd.statistics.bootstrap import group_numbers
from mmkd.statistics.metrics import Array, one_vs_rest

LOWEST = float(np.finfo(np.float32).min)  # the log-probability of a class without a training sample
MOST_ITERATIONS = 1000
Solution = tuple[Array, Array, int]  # weight_SD, bias_S, unconverged
NARROWEST = 1e-3  # columns that vary less than this share of the widest are not stretched: in few samples it is chance


@dataclass(frozen=True, eq=False)
class Logistic:
    """A fitted classifier. weight_CD, bias_C: on features as they came. seen_C: the classes with training samples.

    exclusive: one class a sample. penalty: the chosen C, the inverse strength. chosen_by: how, in words. fits: how many
    regressions that took; unconverged: those that ended early, at `MOST_ITERATIONS` or for lack of precision.
    """

    weight_CD: Array
    bias_C: Array
    seen_C: Array
    exclusive: bool
    penalty: float
    chosen_by: str = ""
    fits: int = 1
    unconverged: int = 0

    def logits(self, value_ND: Array) -> Array:
        return np.asarray(value_ND @ self.weight_CD.T + self.bias_C)

    def scores(self, value_ND: Array) -> Array:
        """Log-probabilities, float32 (N, C); `LOWEST` for a class without training samples.

        Over the classes where they exclude each other, else of each label on its own.
        """
        from scipy.special import log_expit, log_softmax  # where it is needed: recipes are read without scipy

        seen_NS = self.logits(value_ND)[:, self.seen_C]
        score_NC = np.full((len(value_ND), len(self.seen_C)), LOWEST, np.float32)
        score_NC[:, self.seen_C] = np.maximum(
            log_softmax(seen_NS, axis=1) if self.exclusive else log_expit(seen_NS), LOWEST
        )
        return score_NC


def choose_and_fit(
    train_ND: Array,
    label: Array,
    group_N: Sequence[str],
    penalties: Sequence[float],
    folds: int,
    rng: np.random.Generator,
    *,
    classes: int,
    val: tuple[Array, Array] | None = None,
    tolerance: float = 1e-4,
) -> Logistic:
    """Fit with the penalty of the lowest mean log-loss on samples that were not fitted on; of equal ones the strongest.

    label: places of classes, whole numbers (N,), or booleans (N, C) where a sample may have several. group_N: what no
    inner fold may cut, "" for a sample on its own. classes: C. val: features and labels to choose on; without it, or if
    it holds none of the training classes, `folds` inner folds, stratified and by groups. Where too few classes
    (two, or one of several labels) lie in two groups or more, no fold can be scored and the middle penalty is taken.
    Samples of a class that is not in the training part are not scored. Features are standardised on the rows that are
    fitted on. float32 features are fitted in float32. tolerance: on the largest slope, as in scikit-learn.
    """
    _check(train_ND, label, group_N, penalties, classes)
    ascending = sorted(penalties)
    if len(ascending) == 1:
        return replace(fit(train_ND, label, ascending[0], classes, tolerance), chosen_by="given")
    if val is not None:
        path = list(fit_path(train_ND, label, ascending, classes, tolerance))
        loss_K, scored = _losses(path, *val)
        if scored:
            best = path[int(loss_K.argmin())]
            return replace(best, chosen_by="val split", fits=len(path), unconverged=_unconverged(path))
    return _by_folds(train_ND, label, group_N, ascending, folds, rng, classes, tolerance)


def fit(value_ND: Array, label: Array, penalty: float, classes: int, tolerance: float = 1e-4) -> Logistic:
    """Of one penalty; see `choose_and_fit`."""
    return next(fit_path(value_ND, label, [penalty], classes, tolerance))


def fit_path(
    value_ND: Array, label: Array, penalties: Sequence[float], classes: int, tolerance: float = 1e-4
) -> Iterator[Logistic]:
    """Of each penalty in turn, starting where the last one ended; from the strongest (lowest) on that is quickest."""
    mean_D, scale_D = _spread(value_ND)
    scaled_ND = (value_ND - mean_D) / scale_D
    seen_C: Array = np.any(label, axis=0) if label.ndim == 2 else np.isin(np.arange(classes), label)
    if label.ndim == 1:
        solutions = _solutions(scaled_ND, label, penalties, tolerance)
    else:
        columns = [_solutions(scaled_ND, label[:, c], penalties, tolerance) for c in np.flatnonzero(seen_C)]
        each = (zip(*column, strict=True) for column in zip(*columns, strict=True))
        solutions = ((np.concatenate(w), np.concatenate(b), sum(unconverged)) for w, b, unconverged in each)
    for penalty, (weight_SD, bias_S, unconverged) in zip(penalties, solutions, strict=True):
        weight_CD, bias_C = np.zeros((classes, value_ND.shape[1]), scaled_ND.dtype), np.zeros(classes)
        weight_CD[seen_C] = weight_SD / scale_D
        bias_C[seen_C] = bias_S - weight_CD[seen_C] @ mean_D
        yield Logistic(weight_CD, bias_C, seen_C, label.ndim == 1, penalty, unconverged=unconverged)


def _solutions(scaled_ND: Array, label_N: Array, penalties: Sequence[float], tolerance: float) -> Iterator[Solution]:
    """Of one regression; two booleans as labels make one row, of the true ones."""
    from sklearn.linear_model import LogisticRegression

    several = len(np.unique(label_N)) > 1
    model = LogisticRegression(max_iter=MOST_ITERATIONS, tol=tolerance, warm_start=True)
    for penalty in penalties:
        if not several:  # nothing to tell apart; a label that all have gets the odds of the rule of succession
            bias = np.log(len(label_N) + 1) if label_N.dtype == np.bool_ else 0.0
            yield np.zeros((1, scaled_ND.shape[1])), np.array([bias]), 0
            continue
        unconverged = _fit_quietly(model.set_params(C=penalty), scaled_ND, label_N)
        weight_SD, bias_S = model.coef_.copy(), model.intercept_.copy()
        if len(weight_SD) == 1 and label_N.dtype != np.bool_:  # two classes: the first one's logit is zero
            weight_SD, bias_S = np.vstack([np.zeros_like(weight_SD), weight_SD]), np.append(0.0, bias_S)
        yield weight_SD, bias_S, unconverged


def _fit_quietly(model: Any, scaled_ND: Array, label_N: Array) -> int:
    """Fit; 1 if the solver says that it did not converge, else 0. Other warnings are passed on."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(scaled_ND, label_N)
    for other in caught:
        if not issubclass(other.category, ConvergenceWarning):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return int(any(issubclass(one.category, ConvergenceWarning) for one in caught))


def _spread(value_ND: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column; see `NARROWEST`."""
    spread_D = value_ND.std(axis=0)
    widest = float(spread_D.max(initial=0.0))
    return value_ND.mean(axis=0), np.maximum(spread_D, NARROWEST * widest if widest > 0 else 1.0).astype(value_ND.dtype)


def _by_folds(
    train_ND: Array,
    label: Array,
    group_N: Sequence[str],
    penalties: Sequence[float],
    folds: int,
    rng: np.random.Generator,
    classes: int,
    tolerance: float,
) -> Logistic:
    member_NC = one_vs_rest(label, classes) if label.ndim == 1 else label
    number_N = group_numbers(group_N)
    several_C = np.array([len(np.unique(number_N[member_N])) > 1 for member_N in member_NC.T])
    if several_C.sum() < (2 if label.ndim == 1 else 1):
        words = "the middle one: too few classes lie in two groups or more"
        return replace(fit(train_ND, label, penalties[len(penalties) // 2], classes, tolerance), chosen_by=words)
    fold_N = stratified_group_folds(member_NC, number_N, folds, rng)
    loss_K, fits, unconverged, used = np.zeros(len(penalties)), 0, 0, np.unique(fold_N)
    for fold in used:
        held_N = fold_N == fold
        path = list(fit_path(train_ND[~held_N], label[~held_N], penalties, classes, tolerance))
        loss_K += _losses(path, train_ND[held_N], label[held_N])[0]
        fits, unconverged = fits + len(path), unconverged + _unconverged(path)
    chosen = fit(train_ND, label, penalties[int(loss_K.argmin())], classes, tolerance)
    words, unconverged = f"{len(used)} inner folds by group", unconverged + chosen.unconverged
    return replace(chosen, chosen_by=words, fits=fits + 1, unconverged=unconverged)


def _losses(path: Sequence[Logistic], value_ND: Array, label: Array) -> tuple[Array, int]:
    """Summed log-loss of each model (K,), and how many samples of classes they know it is the sum over."""
    from scipy.special import log_expit  # where it is needed: recipes are read without scipy

    seen_C = path[0].seen_C
    if not path[0].exclusive:
        sign_NS = np.where(label[:, seen_C], 1, -1)
        return np.array([-log_expit(sign_NS * one.logits(value_ND)[:, seen_C]).sum() for one in path]), len(label)
    known_N = seen_C[label]
    own_N = label[known_N]
    losses = [-one.scores(value_ND[known_N])[np.arange(len(own_N)), own_N].sum(dtype=np.float64) for one in path]
    return np.array(losses), len(own_N)


def _unconverged(path: Sequence[Logistic]) -> int:
    return sum(one.unconverged for one in path)


def _check(train_ND: Array, label: Array, group_N: Sequence[str], penalties: Sequence[float], classes: int) -> None:
    if not len(train_ND):
        raise DataError("no training sample for the logistic regression; give the card a train split")
    if len(label) != len(train_ND) or len(group_N) != len(train_ND):
        raise ValueError(f"{len(label)} labels and {len(group_N)} groups for {len(train_ND)} samples")
    if label.ndim == 2 and (label.dtype != np.bool_ or label.shape[1] != classes):
        raise ValueError(f"labels {label.dtype} {label.shape}, expected booleans (N, {classes})")
    if label.ndim == 2 and not label.any():
        raise DataError("no training sample has any class; expected one or more")
    if not penalties or min(penalties) <= 0:
        raise ValueError(f"penalties {list(penalties)}, expected one or more above zero")
