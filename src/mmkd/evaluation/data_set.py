"""A data set opened for evaluation: its samples, its texts, its decoded images."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mmkd.errors import DataError
from mmkd.evaluation.card import Card
from mmkd.evaluation.readers import CorpusImage, Sample, fingerprint, read_samples
from mmkd.evaluation.tasks.table import TASKS
from mmkd.teachers.decode import decode


@dataclass(frozen=True)
class DataSet:
    """A card with its samples. texts: the distinct ones of all its tasks. digest: changes when anything in it does."""

    card: Card
    samples: list[Sample]
    texts: list[str]
    digest: str


def open_data_set(card: Card) -> DataSet:
    """Read the card's tables and folders and hash its images.

    Raises DataError for whatever is missing, empty, double or wrong in them, or for what a task lacks.
    """
    samples = read_samples(card)
    texts = dict.fromkeys(text for task in card.tasks for text in TASKS[task].texts(card, samples))
    return DataSet(card, samples, list(texts), fingerprint(card, samples))


class DecodedImages:
    """Decoded images by path, so that the next model need not decode them again; the first `limit_mb` of them stay."""

    def __init__(self, limit_mb: int) -> None:
        self._left = limit_mb * 2**20
        self._kept: dict[Path | CorpusImage, Image.Image] = {}

    def get(self, path: Path | CorpusImage) -> Image.Image:
        """The image as RGB. Raises DataError when it cannot be read."""
        if path in self._kept:
            return self._kept[path]
        image = decode(path.read_bytes())
        if image is None:
            raise DataError(f"{path}: not readable as an image; replace the file or take it out of the data set")
        size = len(image.getbands()) * image.width * image.height
        if size <= self._left:
            self._left -= size
            self._kept[path] = image
        return image
