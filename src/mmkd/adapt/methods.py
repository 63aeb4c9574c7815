"""Linear classifiers from few labelled vectors and the vectors of the classes' prompts.

N pictures, C classes, D dimensions. Vectors have length 1; logits are vector_ND @ weight_CD.T. Every method starts from
zero-shot, whose weights are the prompts' vectors times the model's scale, and is zero-shot without any label.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.evaluation.models.embeddings import normalised
from mmkd.statistics.metrics import Array, one_vs_rest

STEPS = (10, 100, 500)  # of LP++; fewer stay closer to zero-shot
Fit = Callable[[Array, Array, Array, float], list[Array]]
"""(vector_ND, label_N, text_CD, scale) -> weights (C, D) of each setting."""


@dataclass(frozen=True)
class Method:
    """A formula with its settings, of which inner folds choose one. source: where it was published. what: it does, in
    words for the page."""

    name: str
    what: str
    source: str
    settings: tuple[str, ...]
    fit: Fit


def zero_shot(vector_ND: Array, label_N: Array, text_CD: Array, scale: float) -> list[Array]:
    """The prompts' vectors, whatever the labels."""
    return [scale * text_CD]


def ss_text(vector_ND: Array, label_N: Array, text_CD: Array, scale: float) -> list[Array]:
    """Where the labels are drawn to their class and the classes to their prompts, in closed form.

    w_k minimises -1/N sum_i y_ik scale <f_i, w_k> + lambda_k / 2 ||w_k - t_k||^2, so it is t_k + scale / (N lambda_k)
    times the sum of the class's vectors; scored at length 1. lambda_k is 1/N, or 1/N_k.
    """
    member_NC = one_vs_rest(label_N, len(text_CD)).astype(vector_ND.dtype)
    sum_CD, count_C = member_NC.T @ vector_ND, member_NC.sum(axis=0)
    share_C = count_C / max(1, len(label_N))
    return [scale * normalised(text_CD + scale * weight_C[:, None] * sum_CD) for weight_C in (1 + 0 * share_C, share_C)]


def lp_plus_plus(vector_ND: Array, label_N: Array, text_CD: Array, scale: float) -> list[Array]:
    """Weights after each number of `STEPS`, every picture counting once, then every class counting once."""
    found = lp_path(vector_ND, label_N, text_CD, scale, np.ones(len(label_N)), STEPS)
    count_C = np.maximum(np.bincount(label_N, minlength=len(text_CD)), 1)
    per_class_N = (1 / count_C)[label_N]
    if len(label_N):
        per_class_N = per_class_N / per_class_N.mean()
    return found + lp_path(vector_ND, label_N, text_CD, scale, per_class_N, STEPS)


def lp_path(
    vector_ND: Array, label_N: Array, text_CD: Array, scale: float, weight_N: Array, steps: Sequence[int]
) -> list[Array]:
    """LP++: logits <f_i, w_k + alpha_k t_k>, cross-entropy minimised over w and alpha in turn; weights after `steps`.

    Each step minimises a quadratic bound of the loss, so no step raises it: its curvature is the Lipschitz constant of
    the gradient in that block, for which the softmax's Hessian, at most 1/2, is taken. Starts at w = 0, alpha = scale,
    which is zero-shot, instead of at the paper's approximate minimum.
    """
    if not len(label_N):
        return [scale * text_CD for _ in steps]
    weight_N1 = (weight_N / len(label_N))[:, None].astype(vector_ND.dtype)
    member_NC = one_vs_rest(label_N, len(text_CD)).astype(vector_ND.dtype)
    cosine_NC = vector_ND @ text_CD.T
    curvature_w = _largest_eigenvalue(vector_ND * np.sqrt(weight_N1)) / 2
    curvature_alpha = max(float((weight_N1 * cosine_NC**2).sum(axis=0).max()) / 2, 1e-12)
    visual_CD, alpha_C = np.zeros_like(text_CD), np.full(len(text_CD), scale, text_CD.dtype)
    visual_NC, found = np.zeros_like(cosine_NC), []
    for step in range(1, max(steps) + 1):
        error_NC = weight_N1 * (_softmax(visual_NC + alpha_C * cosine_NC) - member_NC)
        visual_CD = visual_CD - error_NC.T @ vector_ND / curvature_w
        visual_NC = vector_ND @ visual_CD.T
        error_NC = weight_N1 * (_softmax(visual_NC + alpha_C * cosine_NC) - member_NC)
        alpha_C = alpha_C - (error_NC * cosine_NC).sum(axis=0) / curvature_alpha
        if step in steps:
            found.append(visual_CD + alpha_C[:, None] * text_CD)
    return found


def _largest_eigenvalue(value_ND: Array) -> float:
    """Of value_ND.T @ value_ND, by the smaller of the two Gram matrices."""
    gram = value_ND @ value_ND.T if len(value_ND) < value_ND.shape[1] else value_ND.T @ value_ND
    return float(np.linalg.eigvalsh(gram.astype(np.float64))[-1])


def _softmax(logit_NC: Array) -> Array:
    share_NC = np.exp(logit_NC - logit_NC.max(axis=1, keepdims=True))
    return np.asarray(share_NC / share_NC.sum(axis=1, keepdims=True))


METHODS = (
    Method("zero-shot", "each class is the vector of its prompts", "the prompts alone", ("",), zero_shot),
    Method(
        "SS-Text",
        "each class is the vector of its prompts, moved towards its labelled pictures in closed form",
        "training-free, arXiv 2506.17500 (the formula as in the authors' published solver, without its repulsion term)",
        ("every picture counts once", "every class by its share"),
        ss_text,
    ),
    Method(
        "LP++",
        "a linear classifier of the pictures, to which each class adds its prompts with a weight that is learnt too",
        "text-informed linear probe, arXiv 2404.02285 and 2409.03868",
        tuple(f"{steps} steps, every {unit} counts once" for unit in ("picture", "class") for steps in STEPS),
        lp_plus_plus,
    ),
)
"""From the simplest on: of equally good ones the first is taken. Zero-shot stands first."""
UNCHOSEN = (1, 1)  # places of the method and setting that are taken where nothing can be chosen
