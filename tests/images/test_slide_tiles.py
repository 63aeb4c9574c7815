"""Slides are cut on a grid at the wished resolution, and tiles read what lies there."""

import builtins
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from slide_world import stained, write_tiled_tiff

from mmkd.errors import ConfigError, DataError
from mmkd.images import slide_tiles as module
from mmkd.images.slide_tiles import SlideTile, Tiles, evenly_spread, grid_corners, open_slide, slide_mpp, tile_slide

HALF = Tiles(side=64, mpp=0.5, slide_mpp=0.5, tissue=0.9)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """640 x 520 pixels; tissue from 192 to 448 across and from 128 to 384 down, so a grid of 64 is 4 x 4 inside."""
    return write_tiled_tiff(tmp_path / "made.tiff", stained(520, 640, [(192, 132, 448, 388)]))


def test_only_tiles_with_tissue_stay_row_by_row(slide: Path) -> None:
    found = tile_slide(slide, HALF)
    across, down = range(192, 448, 64), range(132, 388, 64)  # (520 mod 64) / 2 = 4 is left over at the top
    assert [(tile.x, tile.y) for tile in found] == [(x, y) for y in down for x in across]
    assert {(tile.extent, tile.side) for tile in found} == {(64, 64)}


def test_tiles_show_what_lies_there(slide: Path) -> None:
    whole = stained(520, 640, [(192, 132, 448, 388)])
    tile = SlideTile(slide, 170, 100, 64, 64)
    np.testing.assert_array_equal(np.asarray(tile.read()), whole[100:164, 170:234])


@pytest.mark.parametrize(("mpp", "extent"), [(0.5, 64), (1.0, 128), (0.25, 32)])
def test_extent_follows_the_resolution(slide: Path, mpp: float, extent: int) -> None:
    tile = tile_slide(slide, HALF.model_copy(update={"mpp": mpp, "tissue": 0.2}))[0]
    assert (tile.extent, tile.read().size) == (extent, (64, 64))


def test_most_tiles_are_spread_and_deterministic(slide: Path) -> None:
    few = tile_slide(slide, HALF.model_copy(update={"most": 4}))
    assert few == tile_slide(slide, HALF.model_copy(update={"most": 4}))
    assert [(tile.x, tile.y) for tile in few] == [(320, y) for y in range(132, 388, 64)]


def test_outside_of_the_slide_is_white(slide: Path) -> None:
    tile = SlideTile(slide, 640, 520, 32, 32).read()
    assert tile.mode == "RGB"
    assert np.asarray(tile).min() == 255


def test_threads_read_the_same(slide: Path) -> None:
    found = tile_slide(slide, HALF) * 8
    with ThreadPoolExecutor(4) as pool:
        pixels = list(pool.map(lambda tile: tile.read().tobytes(), found))
    assert pixels == [tile.read().tobytes() for tile in found]
    assert open_slide(slide) is open_slide(slide)


def test_digests_follow_place_and_content(slide: Path, tmp_path: Path) -> None:
    tile = SlideTile(slide, 0, 0, 64, 64)
    assert tile.digest() == SlideTile(slide, 0, 0, 64, 64).digest()
    assert tile.digest() != SlideTile(slide, 1, 0, 64, 64).digest()
    (tmp_path / "copy").mkdir()
    copied = tmp_path / "copy" / slide.name
    copied.write_bytes(slide.read_bytes())
    assert SlideTile(copied, 0, 0, 64, 64).digest() == tile.digest()
    (tmp_path / "other").mkdir()
    other = write_tiled_tiff(tmp_path / "other" / slide.name, stained(520, 640, []))
    assert SlideTile(other, 0, 0, 64, 64).digest() != tile.digest()


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 64))
def test_the_grid_is_gapless_centred_and_inside(width: int, height: int, extent: int) -> None:
    corners = grid_corners((width, height), extent)
    assert len(corners) == (width // extent) * (height // extent) == len(np.unique(corners @ (1, 1000)))
    if len(corners):
        for low, high, length in zip(corners.min(axis=0), corners.max(axis=0) + extent, (width, height), strict=True):
            assert 0 <= low <= length - high <= low + 1


@given(st.integers(1, 2000), st.integers(1, 600))
def test_spread_numbers_are_distinct_and_at_equal_distances(count: int, most: int) -> None:
    chosen = evenly_spread(count, most)
    assert len(chosen) == min(count, most)
    assert chosen[0] >= 0
    assert chosen[-1] < count
    gaps = np.diff(chosen)
    assert not len(gaps) or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_errors_say_what_to_do(slide: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no micrometres per pixel .* tiles\.slide_mpp"):
        tile_slide(slide, Tiles())
    with pytest.raises(DataError, match="smaller than one tile of 1000"):
        tile_slide(slide, Tiles(side=1000, slide_mpp=0.5))
    with pytest.raises(DataError, match="none of 80 tiles shows 50% tissue"):
        tile_slide(write_tiled_tiff(tmp_path / "glass.tiff", stained(520, 640, [])), Tiles(side=64, slide_mpp=0.5))
    with pytest.raises(DataError, match="no such slide"):
        tile_slide(tmp_path / "missing.svs", Tiles())
    (tmp_path / "text.svs").write_text("no slide")
    with pytest.raises(DataError, match="not readable as a slide"):
        tile_slide(tmp_path / "text.svs", Tiles())


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "openslide":
            raise ModuleNotFoundError("No module named 'openslide'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'mmkd\[wsi\]'"):
        module._library()


def test_a_real_slide_of_jpeg_blocks(realdata: Path) -> None:
    path = realdata / "wsi" / "svs" / "CMU-1-Small-Region.svs"
    assert slide_mpp(path, Tiles(slide_mpp=9.0)) == 9.0  # the card comes first
    found = tile_slide(path, Tiles())
    assert 35 <= len(found) <= 50  # of 117; about a third of the slide is tissue
    assert {(tile.extent, tile.side) for tile in found} == {(224, 224)}
    picture = np.asarray(found[len(found) // 2].read())
    assert picture.shape == (224, 224, 3)
    assert picture.std() > 20


def test_a_real_slide_of_jpeg_2000_blocks(realdata: Path) -> None:
    """Its header has no resolution; its second level is 2.0005 times coarser and serves for 2."""
    path = realdata / "wsi" / "svs" / "TCGA-CR-7395-01A-01-TS1.svs"
    with pytest.raises(DataError, match="no micrometres per pixel"):
        tile_slide(path, Tiles())
    fine, coarse = (tile_slide(path, Tiles(slide_mpp=mpp)) for mpp in (0.5, 0.25))
    assert 180 <= len(fine) <= 220
    assert {tile.extent for tile in coarse} == {448}
    tile = coarse[20]
    again = SlideTile(path, tile.x, tile.y, 448, 448).read().resize((224, 224))
    difference = np.asarray(tile.read(), float) - np.asarray(again, float)
    assert abs(difference.mean()) < 2
    assert np.abs(difference).mean() < 12


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.26"}, 0.255),
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "nan"}, 0.25),
        ({"openslide.mpp-x": "352.8", "openslide.mpp-y": "352.8"}, None),  # 72 dots an inch, as editors write
        ({"openslide.mpp-x": "0.00025", "openslide.mpp-y": "0.00025"}, None),  # millimetres
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.5"}, None),
    ],
)
def test_a_resolution_that_no_scanner_has_is_refused(
    monkeypatch: pytest.MonkeyPatch, header: dict[str, str], expected: float | None
) -> None:
    monkeypatch.setattr("mmkd.images.slide_tiles.open_slide", lambda path: SimpleNamespace(properties=header))
    if expected is None:
        with pytest.raises(DataError, match=r"claims .* micrometres per pixel, expected 0\.02 to 20.*tiles\.slide_mpp"):
            slide_mpp(Path("a.svs"), Tiles())
    else:
        assert slide_mpp(Path("a.svs"), Tiles()) == pytest.approx(expected)
    assert slide_mpp(Path("a.svs"), Tiles(slide_mpp=0.5)) == 0.5
    with pytest.raises(ValidationError):
        Tiles(slide_mpp=352.8)
