"""Zero-shot classification with prompt ensembles; N samples, C classes, P prompts, D dimensions, B replicates."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mmkd.cards.card import Card
from mmkd.cards.samples import Sample
from mmkd.evaluation.format.predictions import ClassScores, Predicted
from mmkd.evaluation.gallery.examples import wrong_classes
from mmkd.evaluation.models.embeddings import EmbeddedDataSet, normalised
from mmkd.evaluation.tasks import classes, conformal_sets
from mmkd.evaluation.tasks.task import Columns, NoSettings, Task
from mmkd.statistics.calibration import fit_temperature
from mmkd.statistics.metrics import Array

Embedded = EmbeddedDataSet[NoSettings]
PROBABILITY = "probability:"  # prefix of the columns of calibrated probabilities, one per class
PROMPT_METRICS = tuple(f"prompt_{word}_accuracy" for word in ("worst", "median", "best"))  # in this order in the report
FEWEST_PROMPTS, MOST_PROMPTS = 2, 4  # of a class, in the catalogue
PROMPT = "prompt:"  # prefix of the columns that say whether each class's p-th prompt alone is right, from 0 on


def class_embedding(prompt_PD: Array) -> Array:
    """The normalised mean of a class's normalised prompt embeddings; shape (D,)."""
    return normalised(normalised(prompt_PD).mean(axis=0))


def class_embeddings(prompt_TD: Array, count_C: Sequence[int]) -> Array:
    """`class_embedding` of each class, whose prompts follow one another; (C, D)."""
    first_C = np.cumsum([0, *count_C[:-1]])
    sum_CD = np.add.reduceat(normalised(prompt_TD), first_C, axis=0)
    return normalised(sum_CD / np.asarray(count_C, sum_CD.dtype)[:, None])


def cosines(image_ND: Array, class_CD: Array) -> Array:
    """Cosine of every image and every class; both sides L2-normalised; float32 (N, C)."""
    return (image_ND @ class_CD.T).astype(np.float32)


def _complaint(card: Card) -> str:
    if len(card.classes) < 2:
        return f"needs at least two [[classes]], found {len(card.classes)}"
    silent = [entry.name for entry in card.classes if not entry.prompts]
    return f"needs prompts of every class, found none of {', '.join(silent)}" if silent else ""


def _catalogue_complaints(card: Card) -> Iterator[str]:
    for entry in card.classes:
        if not FEWEST_PROMPTS <= len(entry.prompts) <= MOST_PROMPTS:
            yield f"class {entry.name!r} has {len(entry.prompts)} prompts, expected {FEWEST_PROMPTS} to {MOST_PROMPTS}"
    times = Counter(prompt.casefold() for entry in card.classes for prompt in entry.prompts)
    yield from (f"the prompt {prompt!r} stands twice: it tells nothing apart" for prompt, n in times.items() if n > 1)


def _check(card: Card, samples: Sequence[Sample], settings: NoSettings, seed: int) -> None:
    classes.check_classified([sample for sample in samples if sample.split == "test"], card)


def _texts(card: Card, samples: Sequence[Sample]) -> list[str]:
    return [prompt for entry in card.classes for prompt in entry.prompts]


def _predict(embedded: Embedded) -> Predicted:
    card, samples = embedded.card, embedded.split("test")
    prompts = [entry.prompts for entry in card.classes]
    score_NC, truth = scores_of(embedded, samples, prompts), classes.truth_of(card, samples)
    probabilities, note = _probabilities(embedded, score_NC)
    columns = classes.truth_columns(card, samples) | classes.score_columns(card, score_NC) | probabilities
    # the p-th prompt of every class alone, where all classes have the same number of them and more than one
    if len({len(own) for own in prompts}) == 1 and len(prompts[0]) > 1:
        for p, each in enumerate(zip(*prompts, strict=True)):
            score_NC = scores_of(embedded, samples, [[prompt] for prompt in each])
            columns[f"{PROMPT}{p}"] = classes.top_class_correct(score_NC, truth)
    return Predicted.of(samples, columns, note=note)


def scores_of(embedded: Embedded, samples: Sequence[Sample], prompts: Sequence[Sequence[str]]) -> Array:
    """Cosines with the classes, whose prompts are given; (N, C).

    The cosine of concatenated unit vectors is the mean of the members' cosines, so an ensemble is a mean, by the
    members' shares where they have some.
    """
    texts, count_C = [prompt for own in prompts for prompt in own], [len(own) for own in prompts]
    scores = [
        cosines(member.of_images(samples), class_embeddings(member.of_texts(texts), count_C))
        for member in embedded.by_member()
    ]
    return embedded.mean_of_members(scores)


def _probabilities(embedded: Embedded, score_NC: Array) -> tuple[dict[str, Array], str]:
    """softmax(cosine / temperature), fitted on the val split, and conformal sets; and a note on them.

    Nothing without a val split or with several classes a sample.
    """
    from scipy.special import softmax  # where it is needed: recipes are read without scipy

    card, val = embedded.card, embedded.split("val")
    if not val or card.multi_label:
        return {}, ""
    val_NC = scores_of(embedded, val, [entry.prompts for entry in card.classes])
    val_label_N, label_N = classes.truth_of(card, val), classes.truth_of(card, embedded.split("test"))
    fitted = fit_temperature(val_NC, val_label_N)
    note = f"no best temperature on the val split, {fitted.value:g} is taken" if fitted.at_bound else ""
    probability_NC = softmax(score_NC.astype(np.float64) / fitted.value, axis=1).astype(np.float32)
    groups = [sample.group for sample in val]
    sets, lacking = conformal_sets.set_columns(val_NC, val_label_N, groups, score_NC, label_N, card.id, embedded.seed)
    columns = classes.score_columns(card, probability_NC, PROBABILITY) | sets
    return columns, "; ".join(filter(None, [note, lacking]))


def _class_scores(columns: Columns) -> ClassScores | None:
    """Those that `_measure` uses, for tests, confusion matrices and the gallery."""
    found = classes.class_scores(columns)
    return found and replace(found, score_NC=classes.centred(found.score_NC))


def _measure(columns: Columns, weight_BN: Array) -> dict[str, Array]:
    """Scores are centred where a sample has one class; classes that do not exclude each other keep their cosines."""
    truth = classes.truth_in(columns)
    score_NC = classes.side_by_side(columns, classes.SCORE)
    measured = classes.class_metrics(classes.centred(score_NC) if truth.ndim == 1 else score_NC, truth, weight_BN)
    if any(name.startswith(PROBABILITY) for name in columns):
        measured |= classes.calibration_metrics(classes.side_by_side(columns, PROBABILITY), truth, weight_BN)
    measured |= conformal_sets.set_metrics(columns, weight_BN)
    prompts = [correct_N for name, correct_N in columns.items() if name.startswith(PROMPT)]
    if prompts:
        accuracy_PB = np.stack([classes.top_class_accuracy(correct_N, truth, weight_BN) for correct_N in prompts])
        for word, over in (("median", np.median), ("best", np.max), ("worst", np.min)):
            measured[f"prompt_{word}_accuracy"] = over(accuracy_PB, axis=0)
    return measured


TASK = Task(
    title="Zero-shot classification",
    settings=NoSettings,
    complaint=_complaint,
    check=_check,
    texts=_texts,
    labels=classes.labels_of,
    class_scores=_class_scores,
    class_probabilities=lambda columns: classes.class_scores(columns, PROBABILITY),
    gallery=wrong_classes,
    details=("prompt_sensitivity", "reliability_diagram", "conformal_sets", "confusion_matrix"),
    detailed=lambda metric: metric in conformal_sets.METRICS,
    catalogue_complaints=_catalogue_complaints,
    predict=_predict,
    measure=_measure,
    primary="accuracy",
    lower_is_better=(*classes.CALIBRATION_METRICS, *conformal_sets.LOWER_IS_BETTER),
    protocol="class = normalised mean of normalised prompt embeddings; score = cosine, in AUC less its mean over the "
    "sample's classes (raw on multi-label cards), ties half; "
    f"{classes.PROTOCOL}; probability = softmax(cosine / temperature fitted on val); {classes.CALIBRATION}; "
    f"{conformal_sets.PROTOCOL}; "
    "prompt_median/best/worst = over the p-th prompt of every class alone, chosen on the test data",
)
