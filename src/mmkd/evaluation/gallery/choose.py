"""Which samples the report's gallery shows: the worst errors of a model on a data set, and what it retrieves.

N samples, I distinct images, T texts, D dimensions.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mmkd.cards.samples import ImageRef, Sample
from mmkd.errors import DataError
from mmkd.evaluation.format.class_scores import ClassScores
from mmkd.evaluation.format.predictions import Predictions
from mmkd.evaluation.gallery.examples import GalleryExample, Kind, Retrieved, thumbnail
from mmkd.evaluation.models.embedded_data_set import EmbeddedDataSet
from mmkd.statistics.metrics import Array

MOST_RETRIEVED = 3


@dataclass(frozen=True)
class ExampleText:
    """The texts of an example; see `GalleryExample`."""

    asked: str = ""
    truth: str = ""
    said: str = ""


@dataclass(frozen=True)
class GallerySource:
    """The predictions of one model on one data set. class_scores: of the predictions, where the task has them.

    embedded: the data set as the model embeds it. read: an image.
    """

    predictions: Predictions
    class_scores: ClassScores | None
    embedded: EmbeddedDataSet[Any]
    read: Callable[[ImageRef], Image.Image]

    def samples(self) -> list[Sample]:
        """In the order of the predictions' rows. Raises DataError where they are of other samples."""
        by_id = {sample.id: sample for sample in self.embedded.samples}
        unknown = [name for name in self.predictions.id if name not in by_id]
        if unknown:
            facts = self.predictions.facts
            raise DataError(
                f"{facts.dataset}, {facts.task}, {facts.model}: {unknown[0]!r} is predicted but is no sample of the "
                "data set; evaluate again"
            )
        return [by_id[name] for name in self.predictions.id]

    def example(
        self, kind: Kind, sample: Sample, score: float, text: ExampleText, shown: Sequence[Retrieved] = ()
    ) -> GalleryExample:
        facts = self.predictions.facts
        return GalleryExample(
            dataset=facts.dataset,
            task=facts.task,
            model=facts.model,
            kind=kind,
            id=sample.id,
            asked=text.asked,
            truth=text.truth,
            said=text.said,
            score=round(score, 6),
            picture=self.thumbnail(sample.image),
            shown=list(shown),
        )

    def thumbnail(self, reference: ImageRef) -> bytes:
        return thumbnail(self.read(reference))


def wrong_classes(source: GallerySource, limit: int) -> Iterator[GalleryExample]:
    """The wrong answers that stand highest above the true class."""
    scores = source.class_scores
    if scores is None:
        return
    place_N = np.arange(len(scores.label_N))
    predicted_N = scores.predicted()
    excess_N = scores.score_NC[place_N, predicted_N] - scores.score_NC[place_N, scores.label_N]
    samples = source.samples()
    for row in worst_first(excess_N, predicted_N != scores.label_N)[:limit]:
        if len(samples[row].images) == 1:
            text = ExampleText(truth=scores.classes[scores.label_N[row]], said=scores.classes[predicted_N[row]])
            yield source.example("error", samples[row], float(excess_N[row]), text)


def wrong_answers(source: GallerySource, limit: int) -> Iterator[GalleryExample]:
    """Questions answered wrongly: the first of every image, then the second of each, and so on. Heads that answer
    keep no confidence, and questions on one image would show the same one many times."""
    columns, samples = source.predictions.columns, source.samples()
    wrong = [row for row, is_right in enumerate(columns["correct"]) if not is_right]
    turn_of = dict(zip(wrong, turns([samples[row].image for row in wrong]), strict=True))
    for row in sorted(wrong, key=lambda row: turn_of[row])[:limit]:
        question = samples[row].question
        if question is not None:
            text = ExampleText(question.text, question.answer, str(columns["guess"][row]))
            yield source.example("error", samples[row], 0.0, text)


def best_and_worst_queries(source: GallerySource, limit: int) -> Iterator[GalleryExample]:
    """In both directions the queries whose match ranks best and worst, each with the nearest of the gallery."""
    samples = source.samples()
    image_ND = source.embedded.of_images(samples)
    text_ND = source.embedded.of_texts([sample.caption or "" for sample in samples])
    each = max(1, limit // 4)
    for direction, query_ND, gallery_ND in (("image_to_text", image_ND, text_ND), ("text_to_image", text_ND, image_ND)):
        rank_N = source.predictions.columns[f"{direction}_rank"]
        everything_N = np.ones(len(rank_N), np.bool_)
        chosen: list[tuple[Kind, int]] = [("best query", row) for row in worst_first(-rank_N, everything_N)[:each]]
        taken = {row for _, row in chosen}
        chosen += [("worst query", row) for row in worst_first(rank_N, rank_N > 1)[:each] if row not in taken]
        for kind, row in chosen:
            order_N = np.argsort(-(gallery_ND @ query_ND[row]), kind="stable")
            is_text = direction == "image_to_text"
            yield _query(source, kind, samples, row, float(rank_N[row]), order_N, is_text)


def _query(
    source: GallerySource, kind: Kind, samples: Sequence[Sample], row: int, rank: float, order_N: Array, is_text: bool
) -> GalleryExample:
    """The nearest distinct captions of an image, or the nearest distinct images of a caption."""
    mine = samples[row]
    nearest: dict[object, Sample] = {}
    for place in order_N:
        other = samples[int(place)]
        nearest.setdefault(other.caption if is_text else other.image, other)
        if len(nearest) == MOST_RETRIEVED:
            break
    shown = [
        Retrieved(
            None if is_text else source.thumbnail(other.image), other.caption or "", other.caption == mine.caption
        )
        for other in nearest.values()
    ]
    own = mine.caption or ""
    return source.example(kind, mine, rank, ExampleText(truth=own) if is_text else ExampleText(asked=own), shown)


def turns(keys: Sequence[object]) -> list[int]:
    """How often each key stood before: 0 for its first occurrence, 1 for its second."""
    seen: Counter[object] = Counter()
    found = []
    for key in keys:
        found.append(seen[key])
        seen[key] += 1
    return found


def worst_first(value_N: Array, is_shown_N: Array) -> list[int]:
    """The rows that are shown, by falling value; equal ones in their order."""
    order_N = np.argsort(-np.asarray(value_N, np.float64), kind="stable")
    return [int(row) for row in order_N if is_shown_N[row]]
