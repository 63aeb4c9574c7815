"""What the service answers: plain values that HTTP, the page and the tools show each in its way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

Classes = Mapping[str, Sequence[str]]
"""Names of classes, each with its prompts."""


Sets = Mapping[str, Classes]
"""Names of data sets, each with its classes."""


@dataclass(frozen=True)
class Score:
    """Of one class. cosine: of the picture and the class; None where a trained classifier decides, which has none."""

    name: str
    probability: float
    cosine: float | None


@dataclass(frozen=True)
class Answer:
    """What one model says of a picture.

    scores: the most probable class first. label: its name, or None where the model abstains, since its probability is
    below the threshold. calibrated: whether the probabilities were fitted to labelled pictures. basis: in words, what
    the probabilities rest on.
    """

    model: str
    digest: str
    label: str | None
    threshold: float
    calibrated: bool
    basis: str
    scores: list[Score]


@dataclass(frozen=True)
class Evidence:
    """Where in a picture a model finds each class. view: what it sees of the picture. maps: of each class (G, G), see
    `mmkd.inference.where`.
    """

    model: str
    view: Image.Image
    maps: dict[str, np.ndarray]


@dataclass(frozen=True)
class ModelFacts:
    """role: student or teacher. classes: of its own classifier, empty where it has none. card: its model card, Markdown
    that others may have written. sets: on which its run evaluated it."""

    name: str
    digest: str
    role: str
    dim: int
    backend: str
    licence: str
    classes: list[str]
    basis: str
    card: str
    sets: Sets


@dataclass(frozen=True)
class About:
    """What the service is. rows: pictures in the archive, None without one."""

    version: str
    purpose: str
    models: list[ModelFacts]
    archive: str
    rows: int | None
