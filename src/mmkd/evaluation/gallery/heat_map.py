"""Attention heat maps: a slide with coloured tiles, or a bag's tiles in coloured frames; T tiles."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmkd.cards.samples import ImageRef, Sample
from mmkd.errors import DataError
from mmkd.folders.atomic import atomic_file
from mmkd.images.slide_tiles import SlideTile, open_slide, overview
from mmkd.statistics.metrics import Array

COLOURS = ((44, 123, 182), (171, 217, 233), (255, 255, 191), (253, 174, 97), (215, 25, 28))  # low to high attention
OPACITY = 0.5  # of the colour over the tissue, which must stay visible
BAR_HEIGHT, BAR_WIDTH, MARGIN, TEXT = 14, 180, 8, 13
FRAME = 6
PAPER, INK = (255, 255, 255), (40, 40, 40)


def write_heat_maps(folder: Path, card_id: str, samples: Sequence[Sample], weights: Sequence[Array], limit: int) -> int:
    """Write `<card>-<slide>.png` of the first `limit` slides of each class; returns how many. weights: of their tiles.

    Slides of OpenSlide's are shown whole, bags of tiles as a sheet of their most attended ones.
    """
    for old in folder.glob(f"{card_id}-*.png"):  # of other slides or another model
        old.unlink()
    written: dict[int, int] = {}
    for sample, weight_T in zip(samples, weights, strict=True):
        if written.get(sample.label, 0) == limit:
            continue
        written[sample.label] = written.get(sample.label, 0) + 1
        tiles = [image for image in sample.images if isinstance(image, SlideTile)]
        whole = len(tiles) == len(sample.images)
        _save(
            slide_heat_map(tiles, weight_T) if whole else contact_sheet(sample.images, weight_T),
            folder / f"{card_id}-{re.sub(r'[^A-Za-z0-9._-]', '_', sample.id)}.png",
        )
    return sum(written.values())


def _save(image: Image.Image, path: Path) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    with atomic_file(path) as stream:
        stream.write(buffer.getvalue())


def attention_ranks(weight_T: Array) -> Array:
    """Where each tile stands, 0 (least attended) to 1 (most); equal ones share the mean of their places.

    Attention of a softmax spans orders of magnitude, so that its values would show one tile and no other.
    """
    from scipy.stats import rankdata

    if len(weight_T) < 2:
        return np.ones(len(weight_T))
    return np.asarray((rankdata(weight_T) - 1) / (len(weight_T) - 1))


def colours(rank_T: Array) -> Array:
    """From blue over pale yellow to red; uint8 (T, 3)."""
    place_T = np.asarray(rank_T) * (len(COLOURS) - 1)
    known = np.arange(len(COLOURS))
    channels = [np.interp(place_T, known, channel) for channel in zip(*COLOURS, strict=True)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def slide_heat_map(tiles: Sequence[SlideTile], weight_T: Array, side: int = 1024) -> Image.Image:
    """The slide of the tiles, its longest side at most `side`, every tile coloured by its attention rank.

    Raises DataError where the tiles are of several slides, or the slide cannot be read.
    """
    _check(tiles, weight_T)
    path = tiles[0].path
    if any(tile.path != path for tile in tiles):
        raise DataError(f"tiles of {path} and of other slides; make one heat map a slide")
    view = overview(path, side)
    across, down = np.array(view.size) / open_slide(path).dimensions
    colour, covered = Image.new("RGB", view.size), Image.new("L", view.size)
    for tile, fill in zip(tiles, _fills(weight_T), strict=True):
        left, top = round(tile.x * across), round(tile.y * down)
        right, bottom = round((tile.x + tile.extent) * across), round((tile.y + tile.extent) * down)
        colour.paste(fill, (left, top, right, bottom))
        covered.paste(255, (left, top, right, bottom))
    tinted = Image.blend(view.convert("L").convert("RGB"), colour, OPACITY)  # pink under blue would look like violet
    return _with_colour_bar(Image.composite(tinted, view, covered), f"{len(tiles)} tiles, {path.stem}")


def contact_sheet(
    images: Sequence[ImageRef], weight_T: Array, most: int = 32, columns: int = 8, side: int = 112
) -> Image.Image:
    """The tiles a bag's attention is highest on, at most `most`, in frames of the colour of their rank.

    The most attended stands first; each tile's share of the bag's attention is written below it.
    """
    _check(images, weight_T)
    shown = np.argsort(-np.asarray(weight_T), kind="stable")[:most]
    fills = _fills(weight_T)
    cell = side + 2 * FRAME
    step = cell + TEXT + MARGIN
    across = min(columns, len(shown))
    sheet = Image.new("RGB", (across * (cell + MARGIN) + MARGIN, -(-len(shown) // columns) * step + MARGIN), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    for place, tile in enumerate(shown.tolist()):
        left, top = MARGIN + place % columns * (cell + MARGIN), MARGIN + place // columns * step
        draw.rectangle((left, top, left + cell - 1, top + cell - 1), fill=fills[tile])
        picture = images[tile].read().resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(picture, (left + FRAME, top + FRAME))
        draw.text((left, top + cell), f"{weight_T[tile]:.1%}", fill=INK, font=font)
    return _with_colour_bar(sheet, f"{len(shown)} of {len(images)} tiles")


def _fills(weight_T: Array) -> list[tuple[int, int, int]]:
    return [(colour[0], colour[1], colour[2]) for colour in colours(attention_ranks(weight_T)).tolist()]


def _with_colour_bar(picture: Image.Image, caption: str) -> Image.Image:
    """The image, and below it what the colours mean; narrow images get white at the right."""
    font = ImageFont.load_default(TEXT)
    low, high = "attention rank: low", "high"
    low_width, high_width = (round(font.getlength(text)) for text in (low, high))
    key_width = low_width + BAR_WIDTH + high_width + 2 * MARGIN
    one_row = picture.width >= key_width + round(font.getlength(caption)) + 4 * MARGIN
    row = BAR_HEIGHT + 2 * MARGIN
    width = max(picture.width, key_width + 2 * MARGIN, round(font.getlength(caption)) + 2 * MARGIN)
    canvas = Image.new("RGB", (width, picture.height + (row if one_row else 2 * row)), PAPER)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    top = picture.height + MARGIN
    draw.text((MARGIN, top), low, fill=INK, font=font)
    left = MARGIN + low_width + MARGIN
    bar_3 = colours(np.linspace(0, 1, BAR_WIDTH))
    canvas.paste(Image.fromarray(np.repeat(bar_3[None], BAR_HEIGHT, axis=0)), (left, top))
    draw.text((left + BAR_WIDTH + MARGIN, top), high, fill=INK, font=font)
    place = (left + BAR_WIDTH + high_width + 3 * MARGIN, top) if one_row else (MARGIN, top + row - MARGIN)
    draw.text(place, caption, fill=INK, font=font)
    return canvas


def _check(tiles: Sequence[object], weight_T: Array) -> None:
    if not len(tiles) or np.shape(weight_T) != (len(tiles),):
        raise ValueError(f"{len(tiles)} tiles and attention of shape {np.shape(weight_T)}, expected one weight a tile")
