"""Whole slides cut into tiles: where they lie, and their pixels at the wished resolution.

T tiles. Coordinates are pixels of level 0, the slide's finest; mpp = micrometres a pixel.
"""

import math
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field, PositiveFloat

from mmkd.errors import ConfigError, DataError
from mmkd.folders.digests import bytes_digest, file_digest
from mmkd.images.hamming import Array
from mmkd.images.slide_tissue import covered_shares, tissue_mask
from mmkd.settings import Settings

OVERVIEW_TILE = 16  # pixels of a tile on the picture that tissue is looked for on: holes between fibres close
OVERVIEW_SIDE = 4096  # longest side of that picture
COARSER = 1.01  # levels this much coarser than wished still serve: headers say 2.0005 and mean 2
LOWEST_MPP, HIGHEST_MPP = 0.02, 20.0  # micrometres a pixel: oil immersion at 100x has 0.05, a whole mount 10
OBLONG = 1.1  # pixels higher than wide, or wider than high, by more than this are an error of the header
SAY_MPP = "say it in the card as tiles.slide_mpp, usually about 0.25 for a scan at 40x and 0.5 at 20x"
QUICK_HASH = "openslide.quickhash-1"
_OPENING = Lock()  # or threads that want the same slide would each open it


class Tiles(Settings):
    """How whole slides are cut. side: pixels of a tile at `mpp` micrometres a pixel; most: tiles of a slide, evenly
    spread over its tissue. tissue: least share of a tile that is no background. slide_mpp: micrometres a pixel of the
    slides; not given, their header says.

    mpp: micrometres a pixel of the tiles.
    """

    side: int = Field(224, ge=16)
    mpp: PositiveFloat = 0.5
    most: int = Field(512, ge=1)
    tissue: float = Field(0.5, ge=0.0, le=1.0)
    slide_mpp: float | None = Field(None, ge=LOWEST_MPP, le=HIGHEST_MPP)


@dataclass(frozen=True)
class SlideTile:
    """A square of a slide: its top left corner and its extent in pixels of level 0, its side in pixels as read."""

    path: Path
    x: int
    y: int
    extent: int
    side: int

    def read(self) -> Image.Image:
        """RGB, side x side, from the coarsest level that is fine enough; what was not scanned is white.

        Colours are as stored: no ICC profile is applied, as in the other tools of the field.
        """
        slide = open_slide(self.path)
        level = slide.get_best_level_for_downsample(self.extent / self.side * COARSER)
        stored = max(1, round(self.extent / slide.level_downsamples[level]))
        try:
            region = slide.read_region((self.x, self.y), level, (stored, stored))
        except _library().OpenSlideError as error:
            raise DataError(f"{self}: not readable ({error}); the slide's file is damaged, get it again") from error
        tile = on_white(region)
        return tile if stored == self.side else tile.resize((self.side, self.side), Image.Resampling.LANCZOS)

    def digest(self) -> str:
        """SHA-256 of the slide's own digest and the place."""
        place = f"{slide_digest(self.path)} {self.x} {self.y} {self.extent} {self.side}"
        return bytes_digest(place.encode())

    def __str__(self) -> str:
        return f"{self.path}, tile of {self.extent} pixels at ({self.x}, {self.y})"


def tile_slide(path: Path, tiles: Tiles) -> list[SlideTile]:
    """The slide's tiles with tissue, row by row from the top; at most `tiles.most`, evenly spread over that order.

    The grid is gapless, centred on the slide and wholly inside it. Raises DataError for a slide that cannot be opened,
    has no resolution, is smaller than a tile or shows no tissue, ConfigError without openslide.
    """
    slide = open_slide(path)
    extent = max(1, round(tiles.side * tiles.mpp / slide_mpp(path, tiles)))
    corner_T2 = grid_corners(slide.dimensions, extent)
    if not len(corner_T2):
        width, height = slide.dimensions
        raise DataError(
            f"{path}: {width} x {height} pixels, smaller than one tile of {extent}; give smaller tiles in the card"
        )
    view = overview(path, min(OVERVIEW_SIDE, math.ceil(max(slide.dimensions) * OVERVIEW_TILE / extent)))
    scale = np.array(view.size) / slide.dimensions
    box_T4 = np.hstack([corner_T2 * scale, (corner_T2 + extent) * scale])
    share_T = covered_shares(tissue_mask(view), box_T4)
    kept = np.flatnonzero((share_T >= tiles.tissue) & (share_T > 0))
    if not len(kept):
        raise DataError(
            f"{path}: none of {len(share_T)} tiles shows {tiles.tissue:.0%} tissue or more (the fullest "
            f"{share_T.max():.0%}); lower tiles.tissue or tiles.side in the card, or take the slide out"
        )
    chosen = kept[evenly_spread(len(kept), tiles.most)]
    return [SlideTile(path, int(x), int(y), extent, tiles.side) for x, y in corner_T2[chosen]]


def grid_corners(size: tuple[int, int], extent: int) -> Array:
    """Top left corners of the squares that fit into width x height, centred, row by row; int (T, 2) of x and y."""
    xs, ys = (np.arange(length // extent) * extent + length % extent // 2 for length in size)
    return np.stack([np.tile(xs, len(ys)), np.repeat(ys, len(xs))], axis=1)


def evenly_spread(count: int, most: int) -> Array:
    """At most `most` of the numbers below `count`, at equal distances, from the middle of each stretch; ascending."""
    if count <= most:
        return np.arange(count)
    return ((np.arange(most) + 0.5) * count / most).astype(np.int64)


def slide_mpp(path: Path, tiles: Tiles) -> float:
    """Micrometres a pixel of level 0: `tiles.slide_mpp`, else from the header, the mean of both directions.

    Raises DataError where neither says, or the header says what no scanner has.
    """
    if tiles.slide_mpp is not None:
        return tiles.slide_mpp
    properties = open_slide(path).properties
    found = [_number(properties.get(f"openslide.mpp-{axis}")) for axis in "xy"]
    known = [value for value in found if value > 0 and math.isfinite(value)]
    if known and not (min(known) >= LOWEST_MPP and max(known) <= min(HIGHEST_MPP, OBLONG * min(known))):
        raise DataError(
            f"{path}: the header claims {' x '.join(f'{value:g}' for value in known)} micrometres per pixel, expected "
            f"{LOWEST_MPP} to {HIGHEST_MPP} and the same in both directions; {SAY_MPP}"
        )
    if known:
        return sum(known) / len(known)
    power = properties.get("openslide.objective-power")
    objective = f"an objective of {power}x" if power else "nothing on the objective either"
    raise DataError(f"{path}: the header has no micrometres per pixel ({objective}); {SAY_MPP}")


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def overview(path: Path, side: int) -> Image.Image:
    """The whole slide, RGB, its longest side at most `side`. Raises DataError where it cannot be read."""
    try:
        return on_white(open_slide(path).get_thumbnail((side, side)))
    except _library().OpenSlideError as error:
        raise DataError(f"{path}: no overview could be read ({error}); get the file again") from error


def on_white(image: Image.Image) -> Image.Image:
    """Transparent pixels, which were not scanned, as white: glass."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    canvas = Image.new("RGBA", image.size, (255, 255, 255, 255))
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


def open_slide(path: Path) -> Any:
    """The slide, opened once in a process; its readers may be used by several threads. Raises DataError."""
    with _OPENING:
        return _opened(path, os.getpid())  # a forked process must not share a file's position with its parent


@lru_cache(maxsize=8)
def _opened(path: Path, process: int) -> Any:
    openslide = _library()
    if not os.path.isfile(path):  # Path.is_file() raises for names that are too long
        raise DataError(f"{path}: no such slide; check the path in the card")
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:  # also where no reader knows the format
        raise DataError(f"{path}: not readable as a slide ({error}); get the file again or take it out") from error


def slide_digest(path: Path) -> str:
    """Of the slide's name, size and content, once in a process.

    The content counts by OpenSlide's quick hash (the headers and the smallest level); a slide without one is read.
    """
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, changed_ns: int) -> str:
    content = open_slide(path).properties.get(QUICK_HASH)
    if content is None:
        content = file_digest(path)
    return bytes_digest(f"{path.name} {size} {content}".encode())


def _library() -> Any:
    try:
        import openslide
    except ImportError as error:  # ModuleNotFoundError, or the wheel with the C library is missing
        raise ConfigError(
            f"slides are read with openslide ({error}); install it with: pip install 'mmkd[wsi]'"
        ) from error
    return openslide
