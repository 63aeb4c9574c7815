"""Heat maps: ranks, colours, and that each tile is painted where it lies."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slide_world import GLASS, stained, write_tiled_tiff
from worlds import Named

from mmkd.errors import DataError
from mmkd.evaluation.gallery.heat_map import COLOURS, attention_ranks, colours, contact_sheet, slide_heat_map
from mmkd.images.slide_tiles import SlideTile


def test_ranks_by_hand() -> None:
    np.testing.assert_allclose(attention_ranks(np.array([0.1, 0.7, 0.1, 0.05, 0.05])), [0.625, 1, 0.625, 0.125, 0.125])
    np.testing.assert_allclose(attention_ranks(np.array([1.0])), [1.0])


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30, unique=True))
def test_ranks_do_not_depend_on_the_scale(values: list[int]) -> None:
    rank = attention_ranks(np.exp(np.array(values) / 100))
    np.testing.assert_array_equal(rank, attention_ranks(np.array(values, float)))
    assert (rank.min(), rank.max()) == (0, 1)


def test_colours_go_from_blue_to_red() -> None:
    assert colours(np.array([0, 0.25, 1])).tolist() == [list(COLOURS[0]), list(COLOURS[1]), list(COLOURS[-1])]


def test_tiles_are_painted_where_they_lie(tmp_path: Path) -> None:
    path = write_tiled_tiff(tmp_path / "s.tiff", stained(400, 600, []))
    tiles = [SlideTile(path, x, 100, 100, 50) for x in (0, 200, 400)]
    picture = slide_heat_map(tiles, np.array([0.1, 0.3, 0.6]), side=600)
    assert picture.width == 600
    pixels = np.asarray(picture).astype(int)
    blue, red, glass = pixels[150, 50], pixels[150, 450], pixels[150, 150]
    assert blue[2] > blue[0] + 30
    assert red[0] > red[2] + 30
    np.testing.assert_allclose(glass, GLASS, atol=2)
    assert len(np.unique(pixels[400:], axis=0)) > 1  # the colour bar
    again = slide_heat_map(tiles, np.array([0.1, 0.3, 0.6]), side=600)
    assert picture.tobytes() == again.tobytes()


def test_a_contact_sheet_shows_the_most_attended_first() -> None:
    tiles = [Named(str(n)) for n in range(20)]
    weight = np.arange(20) / np.arange(20).sum()
    sheet = contact_sheet(tiles, weight, most=6, columns=4, side=40)
    pixels = np.asarray(sheet)
    assert tuple(pixels[10, 30]) == COLOURS[-1]  # the upper frame of the first cell
    assert tuple(pixels[30, 30]) == (0, 0, 0)
    assert sheet.tobytes() == contact_sheet(tiles, weight, most=6, columns=4, side=40).tobytes()


def test_wrong_tiles_are_refused(tmp_path: Path) -> None:
    path = write_tiled_tiff(tmp_path / "s.tiff", stained(300, 300, []))
    tile = SlideTile(path, 0, 0, 100, 50)
    with pytest.raises(DataError, match="other slides"):
        slide_heat_map([tile, SlideTile(tmp_path / "t.tiff", 0, 0, 100, 50)], np.ones(2))
    with pytest.raises(ValueError, match="one weight a tile"):
        contact_sheet([tile], np.ones(2))
    with pytest.raises(ValueError, match="one weight a tile"):
        slide_heat_map([], np.ones(0))


def test_real_slides_and_bags_have_pictures(realdata: Path) -> None:
    path = realdata / "wsi" / "svs" / "CMU-1-Small-Region.svs"
    tiles = [SlideTile(path, x, 1500, 224, 224) for x in range(700, 1500, 224)]
    picture = slide_heat_map(tiles, np.array([0.4, 0.3, 0.2, 0.1]), side=512)
    assert picture.height > 512
    assert contact_sheet(tiles, np.array([0.4, 0.3, 0.2, 0.1])).width > 400
