"""Samples from tables of whole slides: tiles by name, by folder, cut from a slide, or ready features."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from reader_cards import CLASSES, card, picture, write_table

from mmkd.cards.card import Card
from mmkd.cards.readers.read import read_samples
from mmkd.cards.samples import FileImage, ImageRef, Survival
from mmkd.errors import DataError
from mmkd.images.slide_tiles import Tiles

ROWS = [
    {"slide": "p1-a.1.svs", "case": "p1", "label": "left", "time": 3, "event": 1},
    {"slide": "p1-b.1.svs", "case": "p1", "label": "right", "time": 3, "event": 0},
]
COLUMNS = {"id": "slide", "group": "case"}


def slides(path: Path, rows: list[dict[str, Any]], **more: Any) -> Card:
    return card({"reader": "slides", "path": write_table(path, rows), "columns": COLUMNS, **more}, CLASSES)


def names(images: tuple[ImageRef, ...]) -> list[str]:
    return [image.path.name for image in images if isinstance(image, FileImage)]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_tiles_are_listed_in_a_column(tmp_path: Path, suffix: str) -> None:
    for name in ("a0.png", "a1.png", "b0.png"):
        picture(tmp_path / "tiles" / name)
    lists: list[list[Any]] = [[{"image": "tiles/a0.png", "kind": "x"}, {"image": "tiles/a1.png"}], ["tiles/b0.png"]]
    rows = [
        {**row, "tiles": json.dumps(tiles) if suffix == ".csv" else tiles}
        for row, tiles in zip(ROWS, lists, strict=True)
    ]
    followed_up = {**COLUMNS, "time": "time", "event": "event"}
    first, second = read_samples(slides(tmp_path / f"t{suffix}", rows, columns=followed_up))
    assert (first.id, first.group, first.label, first.survival) == ("p1-a.1.svs", "p1", 1, Survival(3, True))
    assert (names(first.images), names(second.images)) == (["a0.png", "a1.png"], ["b0.png"])


@pytest.mark.parametrize(
    ("tiles", "told"),
    [
        (["gone.png"], "no image file .*gone.png"),
        (["../a.png"], "leads outside .*root = "),
        ([], "column 'tiles' holds no list of images"),
        ("a.png", "column 'tiles' holds no list of images"),
        ([{"picture": "a.png"}], "column 'tiles' holds no list of images"),
        ("[", "column 'tiles' is not readable as a list"),
        (None, "column 'tiles' holds no list of images"),
    ],
)
def test_a_wrong_list_of_tiles_is_named(tmp_path: Path, tiles: Any, told: str) -> None:
    with pytest.raises(DataError, match=rf"set: t\.jsonl, row 1: .*{told}"):
        read_samples(slides(tmp_path / "t.jsonl", [{**ROWS[0], "tiles": tiles}]))


def test_tiles_lie_in_a_folder_of_each_slide(tmp_path: Path) -> None:
    for name in ("p1-a.1/1.png", "p1-a.1/0.png", "p1-b.1/deep/0.png"):
        picture(tmp_path / "tiles" / name)
    layout = {"images": tmp_path / "tiles", "tile_folder": "{slide:stem}"}
    first, second = read_samples(slides(tmp_path / "t.csv", ROWS, **layout))
    assert (names(first.images), names(second.images)) == (["0.png", "1.png"], ["0.png"])
    (tmp_path / "tiles/p1-b.1/deep/0.png").unlink()
    with pytest.raises(DataError, match=r"row 2: no folder .*p1-b\.1 with the tiles of this slide"):
        read_samples(slides(tmp_path / "t.csv", ROWS, **layout))


def test_slides_are_cut_as_the_card_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def tile_slide(path: Path, tiles: Tiles) -> list[ImageRef]:
        asked.append((path.name, tiles.side))
        return [FileImage(path)]

    module = ModuleType("tiles")
    module.tile_slide = tile_slide  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mmkd.images.slide_tiles", module)
    for row in ROWS:
        (tmp_path / str(row["slide"])).write_bytes(b"")
    samples = read_samples(slides(tmp_path / "t.csv", ROWS, slide="{slide}"))
    assert asked == [("p1-a.1.svs", 224), ("p1-b.1.svs", 224)]
    assert names(samples[0].images) == ["p1-a.1.svs"]
    (tmp_path / "p1-b.1.svs").unlink()
    with pytest.raises(DataError, match=r"row 2: no slide .*p1-b\.1\.svs"):
        read_samples(slides(tmp_path / "t.csv", ROWS, slide="{slide}"))


def test_ready_features_stand_by_the_name_of_their_encoder(tmp_path: Path) -> None:
    for row in ROWS:
        (tmp_path / f"{Path(str(row['slide'])).stem}.h5").write_bytes(b"")
    opened = slides(tmp_path / "t.csv", ROWS, bags={"plip": "{slide:stem}.h5"})
    first, second = read_samples(opened)
    assert (first.images, first.bags["plip"].name, second.bags["plip"].name) == ((), "p1-a.1.h5", "p1-b.1.h5")
    (tmp_path / "p1-a.1.h5").unlink()
    with pytest.raises(DataError, match=r"row 1: no bag .*p1-a\.1\.h5"):
        read_samples(opened)


def test_slides_of_which_nothing_is_to_be_seen_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="row 1: this slide has no tiles and no features; name tiles, tile_folder, slide or bags"
    ):
        read_samples(slides(tmp_path / "t.csv", ROWS))


def test_tiles_come_from_one_place() -> None:
    with pytest.raises(ValueError, match="tiles come from one place, found tile_folder and slide"):
        card({"reader": "slides", "path": "t.csv", "tile_folder": "x", "slide": "y"})
