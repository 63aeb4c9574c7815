"""One model at work: its queue, the vectors of texts that it keeps, and how it answers.

T texts, D dimensions, C classes.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
from PIL import Image

from mmkd.inference.model import Model
from mmkd.inference.where import occlusion
from mmkd.labels.calibrate import Calibration
from mmkd.labels.classify import probabilities
from mmkd.serve.engine.answers import Answer, Evidence, ModelFacts, Score, Sets
from mmkd.serve.engine.batcher import Batcher
from mmkd.serve.engine.limits import INVALID, LATE, Limits, RequestError
from mmkd.statistics.metrics import Array

UNCALIBRATED = "not calibrated: the softmax of the cosines times the model's own scale"


class OwnClassifier(Protocol):
    """A classifier that was fitted to labelled pictures and lies beside the model (`mmkd adapt`)."""

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def is_calibrated(self) -> bool: ...

    def probabilities(self, vector_ND: Array) -> Array:
        """(N, C)."""
        ...


@dataclass(frozen=True)
class Facts:
    """What is known of a model beside its weights. card: Markdown. sets: data sets on which its run evaluated it, with
    their classes. fitted: how the run calibrated the probabilities of such a set. classifier: its own; basis: on which
    data that rests.
    """

    role: str = "student"
    backend: str = "torch"
    licence: str = ""
    card: str = ""
    sets: Sets = field(default_factory=dict)
    fitted: Mapping[str, Calibration] = field(default_factory=dict)
    classifier: OwnClassifier | None = None
    basis: str = ""


class Served:
    """A model that many threads ask."""

    def __init__(self, model: Model, limits: Limits, facts: Facts | None = None) -> None:
        self.model, self._facts, self._limits = model, facts or Facts(), limits
        self.batcher = Batcher(model.encode_prepared, limits)
        self._vectors: OrderedDict[str, Array] = OrderedDict()
        self._lock = threading.Lock()

    def texts(self, texts: Sequence[str]) -> Array:
        """(T, D); those that were asked for lately are not computed again."""
        known = self._known(texts)
        if missing := [text for text in dict.fromkeys(texts) if text not in known]:
            fresh = dict(zip(missing, self._called(lambda: self.model.encode_texts(missing)), strict=True))
            known |= fresh
            self._keep(fresh)
        return np.stack([known[text] for text in texts])

    def count_tokens(self, texts: Sequence[str]) -> int:
        return int(self._called(lambda: self.model.count_tokens(texts)))

    def answer(self, vector_D: Array, prompts: Mapping[str, Sequence[str]] | None, threshold: float) -> Answer:
        """Of one picture. prompts: of each class; None asks the model's own classifier."""
        if not 0.0 <= threshold <= 1.0:
            raise RequestError(INVALID, f"threshold {threshold}", "0 to 1", "leave it out to have no abstention")
        if prompts is None:
            own = self._own()
            scores, calibrated, basis = _own_scores(own, vector_D), own.is_calibrated, self._facts.basis
        else:
            found = self._calibration(prompts)
            scores, calibrated, basis = self._zero_shot(vector_D, prompts, found), found.calibrated, found.origin
        scores.sort(key=lambda score: -score.probability)
        label = scores[0].name if scores[0].probability >= threshold else None
        return Answer(self.model.name, self.model.digest, label, threshold, calibrated, basis, scores)

    def evidence(self, pixel_CHW: np.ndarray, prompts: Mapping[str, Sequence[str]]) -> Evidence:
        """Where in a prepared picture each class is. Pictures of other requests are computed in between."""

        def encode(image_BCHW: np.ndarray) -> Array:
            return cast(Array, self._called(lambda: self.model.encode_prepared(image_BCHW)))

        maps_CGG = occlusion(encode, pixel_CHW, self._class_vectors(prompts))
        view = Image.fromarray(np.ascontiguousarray(pixel_CHW.transpose(1, 2, 0)))
        return Evidence(self.model.name, view, dict(zip(prompts, maps_CGG, strict=True)))

    def facts(self) -> ModelFacts:
        known = self._facts
        classes = list(known.classifier.classes) if known.classifier else []
        model = self.model
        return ModelFacts(
            name=model.name,
            digest=model.digest,
            role=known.role,
            dim=model.dim,
            backend=known.backend,
            licence=known.licence,
            classes=classes,
            basis=known.basis or self._basis(),
            card=known.card,
            sets=known.sets,
        )

    def _basis(self) -> str:
        """What calibrates the probabilities of which classes."""
        fitted = [f"classes of {name}: {found.origin}" for name, found in self._facts.fitted.items()]
        return "; ".join([*fitted, f"other classes: {UNCALIBRATED}"]) if fitted else UNCALIBRATED

    def _own(self) -> OwnClassifier:
        if (own := self._facts.classifier) is None:
            found = f"no classes, and model {self.model.name!r} has no classifier of its own"
            raise RequestError(INVALID, found, "two classes or more", "name them, or serve what 'mmkd adapt' made")
        return own

    def _calibration(self, prompts: Mapping[str, Sequence[str]]) -> Calibration:
        """The run's for the very classes and prompts that it was fitted on; of others it says nothing."""
        asked = {name: list(own) for name, own in prompts.items()}
        for name, found in self._facts.fitted.items():
            if asked == {one: list(own) for one, own in self._facts.sets[name].items()}:
                return found
        return Calibration(1 / self.model.scale, UNCALIBRATED, False)

    def _zero_shot(self, vector_D: Array, prompts: Mapping[str, Sequence[str]], found: Calibration) -> list[Score]:
        cosine_C = self._class_vectors(prompts) @ vector_D
        (probability_C,) = probabilities(cosine_C[None], found.temperature)
        return [Score(name, float(p), float(c)) for name, p, c in zip(prompts, probability_C, cosine_C, strict=True)]

    def _class_vectors(self, prompts: Mapping[str, Sequence[str]]) -> Array:
        """Class = normalised mean of its prompts' unit vectors, as in the evaluation: (C, D)."""
        vector_TD = self.texts([text for own in prompts.values() for text in own])
        ends = np.cumsum([len(own) for own in prompts.values()])[:-1]
        class_CD = np.stack([part_TD.mean(axis=0) for part_TD in np.split(vector_TD, ends)])
        return np.asarray(class_CD / np.linalg.norm(class_CD, axis=1, keepdims=True), np.float32)

    def _called(self, work: Callable[[], Any]) -> Any:
        """What is computed in the model's thread. Raises RequestError when it takes too long."""
        future = self.batcher.call(work)
        try:
            return future.result(self._limits.timeout_s)
        except TimeoutError:
            future.cancel()
            found = f"no answer to texts within {self._limits.timeout_s:g} s"
            raise RequestError(LATE, found, "a faster one", "send fewer texts, or try again later") from None

    def _known(self, texts: Sequence[str]) -> dict[str, Array]:
        with self._lock:
            known = {text: self._vectors[text] for text in texts if text in self._vectors}
            for text in known:
                self._vectors.move_to_end(text)
        return known

    def _keep(self, fresh: dict[str, Array]) -> None:
        with self._lock:
            self._vectors.update(fresh)
            while len(self._vectors) > self._limits.cached_texts:
                self._vectors.popitem(last=False)


def _own_scores(own: OwnClassifier, vector_D: Array) -> list[Score]:
    (probability_C,) = own.probabilities(vector_D[None])
    return [Score(name, float(p), None) for name, p in zip(own.classes, probability_C, strict=True)]
