"""Zero-shot classification with prompt ensembles; N samples, C classes, D dimensions, B bootstrap replicates."""

from collections.abc import Sequence

import numpy as np

from mmkd.evaluation.card import Card
from mmkd.evaluation.embeddings import normalised
from mmkd.evaluation.predictions import Predicted
from mmkd.evaluation.samples import Sample
from mmkd.evaluation.statistics.metrics import Array, accuracy, balanced_accuracy, macro, one_vs_rest
from mmkd.evaluation.statistics.ranking import auc
from mmkd.evaluation.subject import Subject
from mmkd.evaluation.tasks.task import Columns, Task

SCORE = "score:"  # prefix of the columns, one per class in the card's order: `score:<class name>`


def class_embedding(prompt_PD: Array) -> Array:
    """The normalised mean of a class's normalised prompt embeddings; shape (D,)."""
    return normalised(normalised(prompt_PD).mean(axis=0))


def class_scores(image_ND: Array, class_CD: Array) -> Array:
    """Cosine of every image and every class; both sides L2-normalised; float32 (N, C)."""
    return (image_ND @ class_CD.T).astype(np.float32)


def _complaint(card: Card) -> str:
    return "" if len(card.classes) > 1 else f"needs at least two [[classes]], found {len(card.classes)}"


def _texts(card: Card, samples: Sequence[Sample]) -> list[str]:
    return [prompt for entry in card.classes for prompt in entry.prompts]


def _predict(subject: Subject) -> Predicted:
    """The cosine of concatenated unit vectors is the mean of the members' cosines, so an ensemble is a mean."""
    samples = subject.split("test")
    scores = []
    for member in subject.alone():
        class_CD = np.stack([class_embedding(member.of_texts(entry.prompts)) for entry in subject.card.classes])
        scores.append(class_scores(member.of_images(samples), class_CD))
    score_NC = np.stack(scores).mean(axis=0)
    columns = {f"{SCORE}{entry.name}": score_NC[:, c] for c, entry in enumerate(subject.card.classes)}
    return Predicted.of(samples, {"label": np.array([sample.label for sample in samples], np.int32), **columns})


def _measure(columns: Columns, weight_BN: Array) -> dict[str, Array]:
    """Equal highest scores go to the class that stands first in the card."""
    score_NC = np.stack([values for name, values in columns.items() if name.startswith(SCORE)], axis=1)
    label_N = columns["label"]
    correct_N = score_NC.argmax(axis=1) == label_N
    return {
        "accuracy": accuracy(correct_N, weight_BN),
        "balanced_accuracy": balanced_accuracy(correct_N, label_N, weight_BN),
        "macro_auc": macro(auc, score_NC, one_vs_rest(label_N, score_NC.shape[1]), weight_BN),
    }


TASK = Task(
    title="Zero-shot classification",
    complaint=_complaint,
    texts=_texts,
    labels=lambda columns: columns["label"],
    predict=_predict,
    measure=_measure,
    primary="accuracy",
    protocol="class = normalised mean of normalised prompt embeddings; score = cosine; "
    "macro_auc = mean one-vs-rest AUC of each class's raw cosine, ties half",
)
