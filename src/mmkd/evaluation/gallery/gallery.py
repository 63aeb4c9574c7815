"""Pictures for the report: the worst errors of a model on a data set, and what it retrieves, as small JPEGs in Parquet.

With them the report needs no data set. N samples, I distinct pictures, T texts, D dimensions.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmkd.cards.samples import ImageRef, Sample
from mmkd.errors import DataError
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages
from mmkd.evaluation.format.predictions import PredictionFacts, Predictions, predictions_path, read_predictions
from mmkd.evaluation.gallery.class_scores import class_scores
from mmkd.evaluation.gallery.exhibits import Exhibit, Kind, Shown, gallery_path, thumbnail, write_exhibits
from mmkd.evaluation.models.embeddings import embeddings_path, read_embeddings
from mmkd.statistics.metrics import Array

RETRIEVED = 3


def write_gallery(folder: Path, data_set: DataSet, model: str, images: DecodedImages, limit: int) -> int:
    """Write `gallery/<card>.parquet` of the evaluation folder, `limit` exhibits of a task at most; returns how many.

    Tasks that the model was not asked, and those without pictures of one sample, have none. Equal predictions make
    equal files.
    """
    exhibits = [
        exhibit
        for task in data_set.card.tasks
        if task in CHOOSE and limit > 0
        for path in [predictions_path(folder, PredictionFacts(model, data_set.card.id, data_set.card.modality, task))]
        if path.is_file()
        for exhibit in CHOOSE[task](Room(folder, data_set, images, read_predictions(path)), limit)
    ]
    path = gallery_path(folder, data_set.card.id)
    if not exhibits:
        path.unlink(missing_ok=True)
        return 0
    write_exhibits(path, exhibits)
    return len(exhibits)


@dataclass(frozen=True)
class Told:
    """The words of an exhibit."""

    asked: str = ""
    truth: str = ""
    said: str = ""


@dataclass(frozen=True)
class Room:
    """One data set with what the model made of it."""

    folder: Path
    data_set: DataSet
    images: DecodedImages
    predictions: Predictions

    def samples(self) -> list[Sample]:
        """In the order of the predictions' rows. Raises DataError where they are of other samples."""
        by_id = {sample.id: sample for sample in self.data_set.samples}
        strangers = [name for name in self.predictions.id if name not in by_id]
        if strangers:
            facts = self.predictions.facts
            raise DataError(
                f"{facts.dataset}, {facts.task}, {facts.model}: {strangers[0]!r} is predicted but is no sample of the "
                "data set; evaluate again"
            )
        return [by_id[name] for name in self.predictions.id]

    def exhibit(self, kind: Kind, sample: Sample, score: float, told: Told, shown: Sequence[Shown] = ()) -> Exhibit:
        facts = self.predictions.facts
        return Exhibit(
            dataset=facts.dataset,
            task=facts.task,
            model=facts.model,
            kind=kind,
            id=sample.id,
            asked=told.asked,
            truth=told.truth,
            said=told.said,
            score=round(score, 6),
            picture=self.picture(sample.image),
            shown=list(shown),
        )

    def picture(self, reference: ImageRef) -> bytes:
        return thumbnail(self.images.get(reference))


def wrong_classes(room: Room, limit: int) -> Iterator[Exhibit]:
    """The wrong answers that stand highest above the true class."""
    scores = class_scores(room.predictions)
    if scores is None:
        return
    place_N = np.arange(len(scores.label_N))
    answer_N = scores.answers()
    excess_N = scores.score_NC[place_N, answer_N] - scores.score_NC[place_N, scores.label_N]
    samples = room.samples()
    for row in worst_first(excess_N, answer_N != scores.label_N)[:limit]:
        if len(samples[row].images) == 1:
            told = Told(truth=scores.classes[scores.label_N[row]], said=scores.classes[answer_N[row]])
            yield room.exhibit("error", samples[row], float(excess_N[row]), told)


def wrong_answers(room: Room, limit: int) -> Iterator[Exhibit]:
    """Questions answered wrongly: the first of every picture, then the second of each, and so on. Heads that answer
    keep no confidence, and questions on one picture would show the same one many times."""
    columns, samples = room.predictions.columns, room.samples()
    wrong = [row for row, is_right in enumerate(columns["correct"]) if not is_right]
    turn_of = dict(zip(wrong, turns([samples[row].image for row in wrong]), strict=True))
    for row in sorted(wrong, key=lambda row: turn_of[row])[:limit]:
        question = samples[row].question
        if question is not None:
            told = Told(question.text, question.answer, str(columns["guess"][row]))
            yield room.exhibit("error", samples[row], 0.0, told)


def queries(room: Room, limit: int) -> Iterator[Exhibit]:
    """In both directions the queries whose match ranks best and worst, each with the nearest of the gallery."""
    facts, samples = room.predictions.facts, room.samples()
    stored = read_embeddings(embeddings_path(room.folder, facts.dataset, facts.model))
    row_of = {image: row for row, image in enumerate(room.data_set.images)}
    image_ND = stored.image_ID[[row_of[sample.image] for sample in samples]]
    text_ND = stored.of_texts([sample.caption or "" for sample in samples])
    each = max(1, limit // 4)
    for direction, query_ND, gallery_ND in (("image_to_text", image_ND, text_ND), ("text_to_image", text_ND, image_ND)):
        rank_N = room.predictions.columns[f"{direction}_rank"]
        everything_N = np.ones(len(rank_N), np.bool_)
        chosen: list[tuple[Kind, int]] = [("best query", row) for row in worst_first(-rank_N, everything_N)[:each]]
        taken = {row for _, row in chosen}
        chosen += [("worst query", row) for row in worst_first(rank_N, rank_N > 1)[:each] if row not in taken]
        for kind, row in chosen:
            order_N = np.argsort(-(gallery_ND @ query_ND[row]), kind="stable")
            is_text = direction == "image_to_text"
            yield _query(room, kind, samples, row, float(rank_N[row]), order_N, is_text)


def _query(
    room: Room, kind: Kind, samples: Sequence[Sample], row: int, rank: float, order_N: Array, is_text: bool
) -> Exhibit:
    """The nearest distinct captions of a picture, or the nearest distinct pictures of a caption."""
    mine = samples[row]
    nearest: dict[object, Sample] = {}
    for place in order_N:
        other = samples[int(place)]
        nearest.setdefault(other.caption if is_text else other.image, other)
        if len(nearest) == RETRIEVED:
            break
    shown = [
        Shown(None if is_text else room.picture(other.image), other.caption or "", other.caption == mine.caption)
        for other in nearest.values()
    ]
    own = mine.caption or ""
    return room.exhibit(kind, mine, rank, Told(truth=own) if is_text else Told(asked=own), shown)


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


CHOOSE: dict[str, Callable[[Room, int], Iterator[Exhibit]]] = {
    "zero_shot": wrong_classes,
    "linear_probe": wrong_classes,
    "vqa": wrong_answers,
    "retrieval": queries,
}
