"""The service itself: what HTTP, the page and the tools of assistants call, from any thread.

All of it is refused with `RequestError`, whose message may be shown. N pictures, T texts, D dimensions, C classes.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmkd import __version__
from mmkd.archive.archive import Archive, Hit
from mmkd.errors import ConfigError
from mmkd.images.decode import decode
from mmkd.reasons import BadRecordError, Reason
from mmkd.serve.engine.answers import About, Answer, Classes, Evidence, ModelFacts
from mmkd.serve.engine.limits import INVALID, LATE, NOT_FOUND, TOO_LARGE, UNREADABLE, Limits, RequestError
from mmkd.serve.engine.served import Served
from mmkd.statistics.metrics import Array

PURPOSE = "Research software: not a medical device. Its answers are not for clinical decisions."
SEE_DOCS = "see /docs"
KINDS = "a JPEG, PNG, WebP, BMP, TIFF, GIF or DICOM file"

Picture = bytes | Image.Image
"""An encoded file, or a decoded picture in RGB."""


class Service:
    """Models, the student first, and an archive. folder: whose pictures the page may compare models on. Ask `close` to
    finish what was begun."""

    def __init__(
        self,
        served: Sequence[Served],
        archive: Archive | None = None,
        limits: Limits | None = None,
        folder: Path | None = None,
    ) -> None:
        self.limits, self.folder = limits or Limits(), folder
        self._served = {one.model.name: one for one in served}
        self._student = served[0].model.name
        self._archive = archive
        self._decoders = threading.Semaphore(self.limits.decoders)

    def embed(self, images: Sequence[Picture] = (), texts: Sequence[str] = (), model: str = "") -> Array:
        """Unit vectors of the pictures and then of the texts: (N + T, D). model: "" means the student."""
        served = self._named(model)
        self._check_counts(images, texts)
        (vector_ND,) = self._vectors([served], images)
        return np.concatenate([vector_ND, served.texts(texts)]) if texts else vector_ND

    def classify(
        self,
        image: Picture,
        classes: Classes | Sequence[str] | None = None,
        models: Sequence[str] = (),
        threshold: float = 0.0,
    ) -> list[Answer]:
        """What each of the models says. classes: names, or names with prompts; None asks the model's own classifier.
        models: none means the student.
        """
        asked = [self._named(name) for name in models or ("",)]
        prompts = None if classes is None else self._checked(classes)
        vectors = self._vectors(asked, [image])
        return [one.answer(vector_ND[0], prompts, threshold) for one, vector_ND in zip(asked, vectors, strict=True)]

    def where(self, image: Picture, classes: Classes | Sequence[str], model: str = "") -> Evidence:
        """Where in the picture a model finds each class: many pictures to compute. model: "" means the student."""
        served, prompts = self._named(model), self._checked(classes)
        picture = self.read(image) if isinstance(image, bytes) else image
        with served.batcher.room_for(1):
            pixel_CHW = self._prepared(served, picture)
        return served.evidence(pixel_CHW, prompts)

    def search(
        self,
        text: str = "",
        image: Picture | None = None,
        k: int = 10,
        where: str = "",
        not_same_patient: str = "",
        by: str = "picture",
    ) -> list[Hit]:
        """The pictures of the archive that are most like the text or the picture, best first.

        where: a condition, see `archive.where`. not_same_patient: none of this patient is shown. by: picture, series
        or patient, of which only the best picture is shown.
        """
        if self._archive is None:
            cure = "start it with --archive ARCHIVE, which 'mmkd index' makes"
            raise RequestError(NOT_FOUND, "the service has no archive", "one to search in", cure)
        if (not text) == (image is None):
            found = "neither text nor picture" if not text else "a text and a picture"
            raise RequestError(INVALID, found, "one of both", "send text or image")
        if not 1 <= k <= self.limits.hits:
            raise RequestError(INVALID, f"k = {k}", f"1 to {self.limits.hits}", "ask for fewer or more hits")
        vector_ND = self.embed(() if image is None else (image,), (text,) if text else ())
        try:
            return self._archive.search(vector_ND[0], k, where, not_same_patient, by)
        except ConfigError as error:  # of the condition
            raise RequestError(INVALID, str(error), "a condition on the archive's columns", SEE_DOCS) from None

    def count_tokens(self, texts: Sequence[str], model: str = "") -> int:
        """Tokens of the texts that a model reads; what it cuts off is not counted."""
        return self._named(model).count_tokens(texts) if texts else 0

    def models(self) -> list[ModelFacts]:
        """The student first."""
        return [one.facts() for one in self._served.values()]

    def about(self) -> About:
        """What is served, and what it must not be used for."""
        if self._archive is None:
            return About(__version__, PURPOSE, self.models(), "", None)
        name = Path(self._archive.store.place).name  # where it lies is the server's business
        return About(__version__, PURPOSE, self.models(), name, len(self._archive))

    def read(self, data: bytes) -> Image.Image:
        """The picture in the bytes of a file, upright and in RGB, within the limits."""
        with self._decoders:
            try:
                image = decode(data, self.limits.pixels)
            except BadRecordError as bad:
                raise _unreadable(bad, self.limits) from None
        if (found := image.width * image.height) > self.limits.pixels:  # of DICOM, whose pixels need not be square
            raise _too_many_pixels(f"{found:,} pixels", self.limits)
        return image

    def close(self) -> None:
        """Returns when what was asked is computed; what comes later is refused."""
        for one in self._served.values():
            one.batcher.close()

    def waiting(self) -> dict[str, int]:
        """Pictures in the queue of each model."""
        return {name: one.batcher.waiting for name, one in self._served.items()}

    def batch_sizes(self) -> dict[str, Mapping[int, int]]:
        """How many batches of each size each model computed."""
        return {name: one.batcher.sizes for name, one in self._served.items()}

    def _vectors(self, served: Sequence[Served], images: Sequence[Picture]) -> list[Array]:
        """Of each model (N, D). A picture is decoded once; the models compute while the next one is decoded."""

        end = time.monotonic() + self.limits.timeout_s
        with ExitStack() as stack:
            places = [stack.enter_context(one.batcher.room_for(len(images))) for one in served]
            futures: list[list[Future[Any]]] = [[] for _ in served]
            for image in images:
                picture = self.read(image) if isinstance(image, bytes) else image
                for one, place, own in zip(served, places, futures, strict=True):
                    own.append(place.submit(self._prepared(one, picture)))
            return [
                np.stack([_result(f, end, self.limits) for f in own]) if own else np.empty((0, one.model.dim))
                for one, own in zip(served, futures, strict=True)
            ]

    def _prepared(self, one: Served, picture: Image.Image) -> np.ndarray:
        with self._decoders:
            return one.model.prepare(picture)

    def _named(self, name: str) -> Served:
        if (one := self._served.get(name or self._student)) is None:
            names = ", ".join(self._served)
            raise RequestError(NOT_FOUND, f"model {name!r}", f"one of {names}", "name one of these, or none")
        return one

    def _check_counts(self, images: Sequence[Picture], texts: Sequence[str]) -> None:
        if not images and not texts:
            raise RequestError(INVALID, "no text and no picture", "at least one", "send input or image")
        _at_most(len(images), self.limits.pictures, "pictures")
        _at_most(len(texts), self.limits.texts, "texts")
        for text in texts:
            _at_most(len(text), self.limits.characters, "characters of a text")

    def _checked(self, classes: Classes | Sequence[str]) -> dict[str, list[str]]:
        """Names with their prompts: of a name alone, the name."""
        names = list(classes)
        prompts = {name: list(classes[name]) if isinstance(classes, Mapping) else [name] for name in names}
        if len(prompts) != len(names) or len(prompts) < 2:
            raise RequestError(INVALID, f"{len(prompts)} different classes", "two or more, each once", "name them all")
        _at_most(len(prompts), self.limits.classes, "classes")
        _at_most(sum(map(len, prompts.values())), self.limits.classes * 10, "prompts")
        for name, own in prompts.items():
            if not name.strip() or not own or not all(text.strip() for text in own):
                raise RequestError(
                    INVALID, f"class {name!r} with prompts {own}", "words", "leave no name or prompt empty"
                )
            _at_most(max(map(len, (name, *own))), self.limits.characters, "characters of a prompt")
        return prompts


def _result(future: Future[Any], end: float, limits: Limits) -> Any:
    try:
        return future.result(max(0.0, end - time.monotonic()))
    except (TimeoutError, CancelledError):
        future.cancel()
        raise late(limits) from None


def late(limits: Limits) -> RequestError:
    """The answer takes longer than a request may."""
    found = f"no answer within {limits.timeout_s:g} s"
    return RequestError(LATE, found, "a faster one", "send fewer pictures, or try again later", limits.timeout_s)


def _at_most(found: int, most: int, what: str) -> None:
    if found > most:
        raise RequestError(
            TOO_LARGE, f"{found:,} {what}", f"at most {most:,}", "send several requests or shorter texts"
        )


def _unreadable(bad: BadRecordError, limits: Limits) -> RequestError:
    if bad.reason == Reason.DECOMPRESSION_BOMB:
        return _too_many_pixels(bad.detail, limits)
    return RequestError(
        UNREADABLE, f"{bad.reason}: {bad.detail}", KINDS, "send the file as it is, neither cut nor encoded"
    )


def _too_many_pixels(found: str, limits: Limits) -> RequestError:
    return RequestError(TOO_LARGE, found, f"a picture of at most {limits.pixels:,} pixels", "make it smaller")
