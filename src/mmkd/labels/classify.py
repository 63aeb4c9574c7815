"""Zero-shot classification of pictures with one model; N pictures, C classes, D dimensions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from PIL import Image

from mmkd.errors import ConfigError
from mmkd.evaluation.tasks.zero_shot import class_embeddings, cosines
from mmkd.inference.model import Model
from mmkd.labels.classes import Classes
from mmkd.statistics.metrics import Array

PROBABILITY = "probability:"  # before the name of a class, in columns


@dataclass(frozen=True)
class Classified:
    """Probabilities of pictures over the classes, rows sum to 1."""

    classes: Classes
    probability_NC: Array

    def labels(self) -> list[str]:
        """The likeliest class of each picture; of equal ones the first."""
        return [self.classes.names[place] for place in self.probability_NC.argmax(axis=1)]

    def table(self) -> pa.Table:
        """Columns label, probability (of the label), and `probability:NAME` for each class."""
        columns = {"label": pa.array(self.labels(), pa.string()), "probability": self.probability_NC.max(axis=1)}
        for place, name in enumerate(self.classes.names):
            columns[f"{PROBABILITY}{name}"] = np.ascontiguousarray(self.probability_NC[:, place])
        return pa.table(columns)


def class_vectors(model: Model, classes: Classes) -> Array:
    """The normalised mean of the vectors of each class's prompts; (C, D)."""
    texts = [prompt for own in classes.prompts for prompt in own]
    return class_embeddings(model.encode_texts(texts), [len(own) for own in classes.prompts])


Scores = Callable[[Array], Array]
"""Vectors (N, D) -> scores (N, C), of which probabilities are the softmax after division by a temperature."""


def zero_shot(model: Model, classes: Classes) -> Scores:
    """Cosines with the classes' prompts."""
    class_CD = class_vectors(model, classes)
    return lambda vector_ND: cosines(vector_ND, class_CD)


def classify(
    model: Model,
    images: Sequence[Image.Image] | Array,
    classes: Classes,
    temperature: float | None = None,
) -> Classified:
    """softmax(cosine / temperature). images: pictures, or their vectors (N, D).

    temperature: from `fit_temperature` on labelled pictures; None takes the model's own scale, whose probabilities are
    not calibrated. Raises ConfigError.
    """
    if temperature is not None and not temperature > 0:
        raise ConfigError(f"temperature {temperature}, expected a positive number")
    image_ND = images if isinstance(images, np.ndarray) else model.encode_images(images)
    score_NC = zero_shot(model, classes)(image_ND)
    return Classified(classes, probabilities(score_NC, 1 / model.scale if temperature is None else temperature))


def probabilities(score_NC: Array, temperature: float) -> Array:
    """float64 (N, C)."""
    logit_NC = score_NC.astype(np.float64) / temperature
    share_NC = np.exp(logit_NC - logit_NC.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(share_NC / share_NC.sum(axis=1, keepdims=True))
