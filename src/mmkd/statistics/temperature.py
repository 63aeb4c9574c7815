"""Temperature scaling of a classifier's scores; N samples, C classes."""

from dataclasses import dataclass

import numpy as np

from mmkd.statistics.metrics import Array, checked_numbers, one_vs_rest

BOUNDS = (1e-4, 1e4)  # cosines ask for about 0.01, logits of a trained head for about 1


@dataclass(frozen=True)
class Temperature:
    """softmax(score / value). losses: mean negative log-likelihood (nats) on the fitting samples at 1 and at `value`.

    at_bound: the loss falls up to the end of `BOUNDS`: every sample is right by some margin (too low), or the scores
    say nothing of the labels (too high). Then the value is the bound and no optimum.
    """

    value: float
    loss_before: float
    loss_after: float
    at_bound: bool


def fit_temperature(score_NC: Array, label_N: Array) -> Temperature:
    """The temperature that minimises the mean negative log-likelihood of validation samples (Guo et al. 2017).

    The loss is convex in the inverse temperature a, and its slope, mean(expected score - score of the label), grows
    with a: the optimum is the slope's only zero. Order and accuracy do not change. Fit on validation samples, never on
    those that are reported. A binary classifier has the columns 0 and its logit. Raises ValueError for scores that are
    not finite, fewer than two columns, no samples, or labels outside 0..C-1.
    """
    from scipy.optimize import brentq  # takes 0.3 s to import, which recipes are read without
    from scipy.special import logsumexp, softmax

    if score_NC.ndim != 2 or score_NC.shape[1] < 2 or label_N.shape != score_NC.shape[:1] or not len(label_N):
        raise ValueError(f"scores {score_NC.shape} for labels {label_N.shape}, expected (N, C) and (N,), N > 0, C > 1")
    score_NC = checked_numbers(score_NC, "score")
    label_NC = one_vs_rest(label_N, score_NC.shape[1])
    relative_NC = score_NC - score_NC[label_NC][:, None]  # the label's own score is zero: nothing cancels in the slope

    def loss(inverse: float) -> float:
        return float(logsumexp(inverse * relative_NC, axis=1).mean())

    def slope(log_temperature: float) -> float:
        return float((softmax(relative_NC * np.exp(-log_temperature), axis=1) * relative_NC).sum(axis=1).mean())

    low, high = np.log(BOUNDS)
    at_bound = True
    if slope(high) >= 0:
        value = BOUNDS[1]
    elif slope(low) <= 0:
        value = BOUNDS[0]
    else:
        value, at_bound = float(np.exp(brentq(slope, low, high, xtol=1e-12))), False
    return Temperature(value, loss(1.0), loss(1 / value), at_bound)
