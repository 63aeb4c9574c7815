"""Examples of the report's gallery: errors, and queries with what they retrieved, as small JPEGs in Parquet."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from mmkd.errors import DataError
from mmkd.folders.atomic import atomic_file

GALLERY = "gallery"
SIDE_PX = 160
QUALITY = 80
Kind = Literal["error", "best query", "worst query"]


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


RETRIEVED = pa.list_(pa.struct([("picture", pa.binary()), ("text", pa.string()), ("right", pa.bool_())]))
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("dataset", "task", "model", "kind", "id", "asked", "truth", "said")),
        ("score", pa.float64()),
        ("picture", pa.binary()),
        ("shown", RETRIEVED),
    ]
)


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
