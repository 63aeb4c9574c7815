"""Examples of the report's gallery: the worst errors, and queries with what they retrieve, as small JPEGs in Parquet.

N samples, I distinct images, T texts, D dimensions.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from mmkd.cards.samples import ImageRef, Sample
from mmkd.errors import DataError
from mmkd.evaluation.format.predictions import ClassScores, Predictions
from mmkd.evaluation.models.embeddings import EmbeddedDataSet
from mmkd.folders.atomic import atomic_file
from mmkd.statistics.metrics import Array

GALLERY = "gallery"
SIDE_PX = 160
QUALITY = 80
Kind = Literal["error", "best query", "worst query"]
RETRIEVED = pa.list_(pa.struct([("picture", pa.binary()), ("text", pa.string()), ("right", pa.bool_())]))
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("dataset", "task", "model", "kind", "id", "asked", "truth", "said")),
        ("score", pa.float64()),
        ("picture", pa.binary()),
        ("shown", RETRIEVED),
    ]
)
MOST_RETRIEVED = 3


@dataclass(frozen=True)
class Retrieved:
    """An image or a text that a query retrieved; right: it belongs to the query."""

    picture: bytes | None
    text: str
    right: bool


@dataclass(frozen=True)
class GalleryExample:
    """An error, or a query and what it retrieved. asked: the question or the caption. said: the prediction. score: what
    the example was chosen by (the confidence, a rank). Images are JPEG."""

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
    shown: list[Retrieved] = field(default_factory=list)


def write_examples(path: Path, examples: Sequence[GalleryExample]) -> None:
    """The whole file or nothing."""
    with atomic_file(path) as stream:
        parquet.write_table(pa.Table.from_pylist([asdict(one) for one in examples], SCHEMA), stream)


def gallery_path(folder: Path, card_id: str) -> Path:
    return folder / GALLERY / f"{card_id}.parquet"


def read_gallery(folder: Path) -> list[GalleryExample]:
    """The examples of all data sets, by data set. Raises DataError for a damaged file."""
    found = []
    for path in sorted((folder / GALLERY).glob("*.parquet")):
        try:
            rows = parquet.read_table(path).to_pylist()
            found += [GalleryExample(**{**row, "shown": [Retrieved(**one) for one in row["shown"]]}) for row in rows]
        except (pa.ArrowInvalid, OSError, TypeError, KeyError) as error:
            raise DataError(f"{path}: not readable as a gallery ({error}); evaluate again") from error
    return found


def thumbnail(image: Image.Image) -> bytes:
    """A JPEG of SIDE_PX at most, the whole image."""
    small = image.convert("RGB")
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


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

    def example(self, kind: Kind, sample: Sample, score: float, asked: str, truth: str, said: str) -> GalleryExample:
        """Without what was retrieved; see `GalleryExample`."""
        facts, picture = self.predictions.facts, self.thumbnail(sample.image)
        texts = asked, truth, said
        return GalleryExample(facts.dataset, facts.task, facts.model, kind, sample.id, *texts, round(score, 6), picture)

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
            truth, said = (scores.classes[of_N[row]] for of_N in (scores.label_N, predicted_N))
            yield source.example("error", samples[row], float(excess_N[row]), "", truth, said)


def wrong_answers(source: GallerySource, limit: int) -> Iterator[GalleryExample]:
    """Questions answered wrongly: the first of every image, then the second of each, and so on. Heads that answer
    keep no confidence, and questions on one image would show the same one many times."""
    columns, samples = source.predictions.columns, source.samples()
    wrong = [row for row, is_right in enumerate(columns["correct"]) if not is_right]
    turn_of = dict(zip(wrong, turns([samples[row].image for row in wrong]), strict=True))
    for row in sorted(wrong, key=lambda row: turn_of[row])[:limit]:
        question = samples[row].question
        if question is not None:
            said = str(columns["guess"][row])
            yield source.example("error", samples[row], 0.0, question.text, question.answer, said)


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
    asked, truth = ("", own) if is_text else (own, "")
    return replace(source.example(kind, mine, rank, asked, truth, ""), shown=shown)


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
