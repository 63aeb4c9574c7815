"""References to pictures: what they read, and when they are the same picture."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from reader_cards import card

from mmkd.cards.array_images import ArrowImage
from mmkd.cards.readers.read import read_samples
from mmkd.cards.samples import BlankImage, FileImage
from mmkd.errors import DataError
from mmkd.images.encode import png

RAMP = np.linspace(0, 60_000, 256).astype(np.uint16).reshape(16, 16)
Saved = Callable[[Path], None]


def colour(level: int) -> bytes:
    return png(Image.new("RGB", (4, 4), (level, 0, 0)))


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("grey16.png", lambda path: Image.fromarray(RAMP).save(path)),
        ("grey16.tif", lambda path: Image.fromarray(RAMP).save(path)),
        ("float.tif", lambda path: Image.fromarray(RAMP.astype(np.float32)).save(path)),
        ("grey8.png", lambda path: Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)),
    ],
)
def test_greys_of_any_depth_become_rgb_over_the_whole_range(tmp_path: Path, name: str, save: Saved) -> None:
    save(tmp_path / name)
    picture = FileImage(tmp_path / name).read()
    assert picture.mode == "RGB"
    for channel in picture.split():
        np.testing.assert_allclose(np.asarray(channel).ravel(), np.arange(256), atol=0.51)


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png: not readable as an image"):
        FileImage(tmp_path / "a.png").read()
    with pytest.raises(DataError, match=r"gone\.png: not to be read \(No such file"):
        FileImage(tmp_path / "gone.png").digest()


def test_a_blank_picture_shows_nothing() -> None:
    assert len(BlankImage().read().getcolors() or []) == 1
    assert BlankImage() == BlankImage()


def stored(path: Path, cells: list[Any], **more: Any) -> Path:
    parquet.write_table(pa.table({"id": [str(n) for n in range(len(cells))], "image": cells}), path, **more)
    return path


@pytest.mark.parametrize("wrapped", [True, False], ids=["struct", "bytes"])
def test_pictures_inside_a_table_are_read_row_by_row(tmp_path: Path, wrapped: bool) -> None:
    levels = [10 * n for n in range(10)]
    cells = [{"bytes": colour(level), "path": f"{level}.png"} if wrapped else colour(level) for level in levels]
    path = stored(tmp_path / "t.parquet", cells, row_group_size=3)
    images = [sample.image for sample in read_samples(card({"reader": "table", "path": path}))]
    assert images == [ArrowImage(path, row, "image") for row in range(10)]
    with ThreadPoolExecutor(4) as pool:
        found = [picture.getpixel((0, 0)) for picture in pool.map(ArrowImage.read, images)]
    assert found == [(level, 0, 0) for level in levels]
    assert [image.digest() for image in images] == [ArrowImage(path, row, "image").digest() for row in range(10)]


def test_rows_with_the_same_bytes_share_one_picture(tmp_path: Path) -> None:
    path = stored(tmp_path / "t.parquet", [{"bytes": colour(level)} for level in (1, 2, 1, 1)], row_group_size=2)
    samples = read_samples(card({"reader": "table", "path": path, "columns": {"group": "image"}}))
    assert [sample.image for sample in samples] == [ArrowImage(path, row, "image") for row in (0, 1, 0, 0)]
    assert [sample.group for sample in samples] == [sample.image.digest() for sample in samples]


def test_a_cell_without_bytes_names_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(colour(7))
    path = stored(tmp_path / "t.parquet", [{"bytes": None, "path": "a.png"}])
    assert read_samples(card({"reader": "table", "path": path}))[0].image.read().getpixel((0, 0)) == (7, 0, 0)


def test_a_cell_without_a_picture_is_named(tmp_path: Path) -> None:
    path = stored(tmp_path / "t.parquet", [b"no picture", None])
    with pytest.raises(DataError, match=r"set: t\.parquet, row 2: column 'image' is empty"):
        read_samples(card({"reader": "table", "path": path}))
    with pytest.raises(DataError, match=r"t\.parquet, row 1, column 'image': not readable as an image"):
        ArrowImage(path, 0, "image").read()
    with pytest.raises(DataError, match=r"t\.parquet, row 2: column 'image' holds no bytes"):
        ArrowImage(path, 1, "image").digest()


def test_png_keeps_every_pixel() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8))
    with Image.open(io.BytesIO(png(picture))) as found:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(picture))


def test_a_picture_turned_by_exif_is_read_upright(tmp_path: Path) -> None:
    """As curation stores it: a model is evaluated on pictures like those it was trained on."""
    grey_HW = np.repeat(np.repeat(np.array([[0, 80, 160], [250, 200, 120]], np.uint8), 16, axis=0), 16, axis=1)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(grey_HW).save(tmp_path / "a.jpg", exif=exif, quality=95)
    (tmp_path / "t.csv").write_text("id,image\n1,a.jpg\n")
    (sample,) = read_samples(card({"reader": "table", "path": tmp_path / "t.csv"}))
    found_HW = np.asarray(sample.image.read())[..., 0].astype(int)
    assert np.abs(found_HW - np.rot90(grey_HW, -1)).max() < 5


def test_formats_that_curation_refuses_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.ppm")
    with pytest.raises(DataError, match=r"a\.ppm: not readable as an image \(.*none of JPEG"):
        FileImage(tmp_path / "a.ppm").read()


def test_pictures_inside_an_arrow_table_are_read_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "t.arrow"
    found = pa.table({"id": ["a", "b", "c"], "image": [colour(level) for level in (1, 2, 1)]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, found.schema) as writer:
        writer.write_table(found, max_chunksize=2)
    images = [sample.image for sample in read_samples(card({"reader": "table", "path": path}))]
    assert images == [ArrowImage(path, row, "image") for row in (0, 1, 0)]
    assert [image.read().getpixel((0, 0)) for image in images] == [(level, 0, 0) for level in (1, 2, 1)]
