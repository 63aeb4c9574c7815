"""Two models before the same pictures: those that were uploaded, or those of the folder of `--compare`."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmkd.inference.pictures import Picture, pictures
from mmkd.reasons import BadRecordError
from mmkd.serve.engine.answers import Answer, Classes
from mmkd.serve.engine.limits import UNREADABLE, RequestError
from mmkd.serve.engine.service import Service
from mmkd.serve.page.uploads import Upload
from mmkd.serve.page.views import THUMBNAIL_PX, Row, Shown, shown

AT_ONCE = 4
MOST = 200  # pictures of a folder, evenly chosen: their answers and thumbnails make one page


def compare(
    service: Service, uploads: Sequence[Upload], classes: Classes, models: tuple[str, str]
) -> tuple[list[Row], bool]:
    """Rows in the order of the pictures, and whether the probabilities of both models are calibrated."""

    def answers(upload: Upload) -> list[Answer]:
        return service.classify(upload.data, classes, models)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(answers, uploads))
    return _rows([one.shown for one in uploads], found)


def compare_folder(
    service: Service, folder: Path, classes: Classes, models: tuple[str, str]
) -> tuple[list[Row], bool, str]:
    """As `compare`, of at most MOST pictures of the folder, read one after the other; and which these are, in words.

    Raises RequestError where none can be read.
    """
    there = [one for one in pictures(folder) if isinstance(one, Picture)]
    chosen = [there[place * len(there) // MOST] for place in range(MOST)] if len(there) > MOST else there

    def answers(one: Picture) -> tuple[Shown, list[Answer]] | None:
        try:
            image = one.read()
        except BadRecordError:
            return None
        return shown(one.id, image, THUMBNAIL_PX), service.classify(image, classes, models)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = [one for one in pool.map(answers, chosen) if one is not None]
    if not found:
        bad = f"{len(chosen):,} pictures of the folder, none of which can be read"
        raise RequestError(UNREADABLE, bad, "pictures", "tell who runs the service, or upload pictures")
    rows, calibrated = _rows([one for one, _ in found], [pair for _, pair in found])
    said = f"{len(chosen):,} of {len(there):,} pictures of {folder.name}"
    said += ", evenly chosen" if len(chosen) < len(there) else ""
    unread = len(chosen) - len(found)
    return rows, calibrated, f"{said}; {unread:,} could not be read" if unread else said


def _rows(pictures_: Sequence[Shown], found: Sequence[Sequence[Answer]]) -> tuple[list[Row], bool]:
    rows = [Row(one, (a.scores[0], b.scores[0])) for one, (a, b) in zip(pictures_, found, strict=True)]
    return rows, all(answer.calibrated for pair in found for answer in pair)
