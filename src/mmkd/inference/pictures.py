"""The pictures of a source, whatever it is: for embedding, labelling and archives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mmkd.curation.records.record import Rejected
from mmkd.folders.paths import IMAGE_SUFFIXES, natural_key
from mmkd.images.decode import decode
from mmkd.reasons import BadRecordError


@dataclass(frozen=True)
class Picture:
    """One picture. read: decodes it, upright and in RGB; raises BadRecordError; may be called in a thread.

    id: unique in its source, the same at every reading. path: of its file below the source; of a slice or of a member
    of a tar also the place in it. caption, modality, group (patient), series: "" where unknown. slice: its place in
    the series.
    """

    id: str
    path: str
    read: Callable[[], Image.Image]
    caption: str = ""
    modality: str = ""
    group: str = ""
    series: str = ""
    slice: int | None = None


def pictures(source: Path) -> Iterator[Picture | Rejected]:
    """All pictures in a fixed order, and what was met and cannot be read, each with its reason."""
    files = sorted(
        (p for p in source.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES), key=lambda p: natural_key(str(p))
    )
    for path in files:
        name = str(path.relative_to(source))
        yield Picture(name, name, lambda path=path: decode(path.read_bytes()))  # type: ignore[misc]


def read(picture: Picture) -> Image.Image | Rejected:
    """The picture, or why there is none."""
    try:
        return picture.read()
    except BadRecordError as bad:
        return Rejected("", picture.path, picture.id, bad.reason, bad.detail)
