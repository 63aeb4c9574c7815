"""Pictures for the report: the worst errors of a model on a data set, and what it retrieves, as small JPEGs in Parquet.

With them the report needs no data set. N samples, I distinct pictures, T texts, D dimensions.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from mmkd.errors import DataError
from mmkd.evaluation.class_scores import class_scores
from mmkd.evaluation.data_set import DataSet, DecodedImages
from mmkd.evaluation.embeddings import embeddings_path, read_embeddings
from mmkd.evaluation.predictions import PredictionFacts, Predictions, predictions_path, read_predictions
from mmkd.evaluation.samples import ImageRef, Sample
from mmkd.evaluation.statistics.metrics import Array
from mmkd.stage import atomic_file

GALLERY = "gallery"
SIDE_PX = 160
QUALITY = 80
RETRIEVED = 3
Kind = Literal["error", "best query", "worst query"]


@dataclass(frozen=True)
class Shown:
    """Something that was retrieved: a picture or a text; right: it belongs to the query."""

    picture: bytes | None
    text: str
    right: bool


@dataclass(frozen=True)
class Exhibit:
    """An error, or a query and what it found. asked: the question or the caption. score: what the error was chosen by
    (the confidence, a rank); pictures are JPEG."""

    dataset: str
    task: str
    model: str
    kind: Kind
    id: str
    asked: str
    truth: str
    said: str
    score: float
    picture: bytes | None
    shown: list[Shown] = field(default_factory=list)


SHOWN = pa.list_(pa.struct([("picture", pa.binary()), ("text", pa.string()), ("right", pa.bool_())]))
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("dataset", "task", "model", "kind", "id", "asked", "truth", "said")),
        ("score", pa.float64()),
        ("picture", pa.binary()),
        ("shown", SHOWN),
    ]
)


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


def write_exhibits(path: Path, exhibits: Sequence[Exhibit]) -> None:
    """The whole file or nothing."""
    with atomic_file(path) as stream:
        parquet.write_table(pa.Table.from_pylist([asdict(one) for one in exhibits], SCHEMA), stream)


def gallery_path(folder: Path, card_id: str) -> Path:
    return folder / GALLERY / f"{card_id}.parquet"


def read_gallery(folder: Path) -> list[Exhibit]:
    """The exhibits of all data sets, by data set. Raises DataError for a damaged file."""
    found = []
    for path in sorted((folder / GALLERY).glob("*.parquet")):
        try:
            rows = parquet.read_table(path).to_pylist()
            found += [Exhibit(**{**row, "shown": [Shown(**one) for one in row["shown"]]}) for row in rows]
        except (pa.ArrowInvalid, OSError, TypeError, KeyError) as error:
            raise DataError(f"{path}: not readable as a gallery ({error}); evaluate again") from error
    return found


def thumbnail(image: Image.Image) -> bytes:
    """A JPEG of SIDE_PX at most, the picture whole."""
    small = image.convert("RGB")
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


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
    """Questions answered wrongly, with the highest confidence first where the task keeps one."""
    columns = room.predictions.columns
    said_N, is_right_N = columns["predicted"], columns["correct"].astype(bool)
    confidence_N = columns.get("confidence", np.zeros(len(is_right_N)))
    samples = room.samples()
    for row in worst_first(confidence_N, ~is_right_N)[:limit]:
        question = samples[row].question
        if question is not None and len(samples[row].images) == 1:
            told = Told(question.text, question.answer, str(said_N[row]))
            yield room.exhibit("error", samples[row], float(confidence_N[row]), told)


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
