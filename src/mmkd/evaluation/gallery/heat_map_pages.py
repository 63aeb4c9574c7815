"""Heat maps for the report: where one model's attention lies on a few slides of a data set."""

import io
import re
from pathlib import Path

from PIL import Image

from mmkd.evaluation.gallery.heat_map import contact_sheet, slide_heat_map
from mmkd.evaluation.models.subject import Subject
from mmkd.evaluation.tasks.diagnosis import slide_scores
from mmkd.folders.atomic import atomic_file
from mmkd.images.slide_tiles import SlideTile

HEAT_MAPS = "heat_maps"


def write_heat_maps(folder: Path, subject: Subject, limit: int) -> int:
    """Write `heat_maps/<card>-<slide>.png` of the first `limit` slides of each class; returns how many.

    Slides of OpenSlide's are shown whole, bags of tiles as a sheet of their most attended ones.
    """
    home, card = folder / HEAT_MAPS, subject.card.id
    for old in home.glob(f"{card}-*.png"):  # of other slides or another model
        old.unlink()
    scores = slide_scores(subject)
    shown: dict[int, int] = {}
    for place, number in enumerate(scores.tested_N):
        sample = subject.samples[number]
        shown[sample.label] = shown.get(sample.label, 0) + 1
        if shown[sample.label] > limit:
            continue
        tiles = [image for image in sample.images if isinstance(image, SlideTile)]
        weight_T = scores.weights[place]
        whole = len(tiles) == len(sample.images)
        _save(
            slide_heat_map(tiles, weight_T) if whole else contact_sheet(sample.images, weight_T),
            home / _file_name(card, sample.id),
        )
    return sum(min(count, limit) for count in shown.values())


def _file_name(card: str, slide: str) -> str:
    return f"{card}-{re.sub(r'[^A-Za-z0-9._-]', '_', slide)}.png"


def _save(picture: Image.Image, path: Path) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    with atomic_file(path) as stream:
        stream.write(buffer.getvalue())
