"""Compound figures: gutters, sub-captions, and what becomes of a figure."""

import json

import numpy as np
import pytest
from corpus_samples import REALDATA, needs_realdata, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmkd.curation.panels.gutters import panel_boxes
from mmkd.curation.panels.split import Panel, panels_of, sub_captions
from mmkd.images.box import Box
from mmkd.reasons import BadRecordError


def compound(rows: int, columns: int, gutter: int, shade: int, side: int = 60) -> tuple[Image.Image, list[Box]]:
    """Noise panels on a grid with gutters of one shade, and where they are."""
    pitch = side + gutter
    canvas = np.full((gutter + rows * pitch, gutter + columns * pitch, 3), shade, np.uint8)
    boxes = []
    for row in range(rows):
        for column in range(columns):
            left, top = gutter + column * pitch, gutter + row * pitch
            panel = noise(row * 7 + column, side, side).astype(int) * 3 // 5 + 50  # neither paper nor black
            canvas[top : top + side, left : left + side] = panel
            boxes.append(Box(left, top, left + side, top + side))
    return Image.fromarray(canvas), boxes


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(2, 20), st.sampled_from([255, 0]))
def test_a_grid_is_taken_apart_in_reading_order(rows: int, columns: int, gutter: int, shade: int) -> None:
    figure, expected = compound(rows, columns, gutter, shade)
    found = panel_boxes(figure)
    assert found == (expected if len(expected) > 1 else [Box(0, 0, *figure.size)])


def test_panels_of_different_sizes_and_a_letter_beside_them() -> None:
    canvas = np.full((210, 320, 3), 255, np.uint8)
    canvas[5:100, 5:310] = 128  # one across
    canvas[110:205, 5:150] = 90
    canvas[110:150, 160:310] = 60
    canvas[160:205, 160:310] = 70
    canvas[102:106, 5:9] = 0  # a letter in the gutter
    found = panel_boxes(Image.fromarray(canvas))
    assert [(box.left, box.top) for box in found] == [(5, 5), (5, 110), (160, 110), (160, 160)]


@pytest.mark.parametrize("image", [noise(1, 200, 300), np.full((50, 50, 3), 255, np.uint8), noise(2, 5, 5)])
def test_a_picture_without_gutters_is_one_panel(image: np.ndarray) -> None:
    assert panel_boxes(Image.fromarray(image)) == [Box(0, 0, image.shape[1], image.shape[0])]


def test_boxes_of_a_large_figure_lie_within_it() -> None:
    figure, expected = compound(2, 2, 24, 255, side=900)
    found = panel_boxes(figure)
    for box, truth in zip(found, expected, strict=True):
        assert np.abs(np.subtract((box.left, box.top), (truth.left, truth.top))).max() <= 4
        assert box.right <= figure.width
        assert box.bottom <= figure.height


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Brain. (A) CT. (B) MRI.", {"a": "Brain. CT", "b": "Brain. MRI"}),
        ("Brain: (a) CT; (b, c) MRI", {"a": "Brain: CT", "b": "Brain: MRI", "c": "Brain: MRI"}),
        ("(a–e) Five views", dict.fromkeys("abcde", "Five views")),
        ("A: CT of the lung. B: MRI of it.", {"a": "CT of the lung", "b": "MRI of it"}),
        ("a) CT, and b) MRI", {}),  # the second does not begin a sentence: a guess
        ("(a) CT and (b) MRI", {"a": "CT", "b": "MRI"}),
        ("A cyst (a) and its wall (b)", {}),  # behind what they label
        ("(a) CT (c) MRI", {}),  # a gap
        ("(b) CT (a) MRI", {}),
        ("(a) CT, as (b) shows in (a)", {}),  # twice
        ("(a) (b) MRI", {}),  # nothing said of a
        ("(a) CT alone", {}),
        ("No labels", {}),
        ("", {}),
    ],
)
def test_sub_captions(caption: str, expected: dict[str, str]) -> None:
    assert sub_captions(caption) == expected


@given(st.lists(st.sampled_from(["(a)", "(b)", "(c–d)", "B)", "C:", "CT", "MRI.", "and", ",", "(A, B)"])))
def test_labels_have_no_gap_and_text(pieces: list[str]) -> None:
    found = sub_captions(" ".join(pieces))
    assert len(found) != 1
    assert list(found) == list("abcdefgh"[: len(found)])
    assert all(found.values())


def test_what_becomes_of_a_figure() -> None:
    figure, boxes = compound(1, 2, 8, 255)
    caption = "Brain. (a) CT. (b) MRI."
    assert panels_of(figure, caption, "split") == [
        Panel("a", "Brain. CT", boxes[0]),
        Panel("b", "Brain. MRI", boxes[1]),
    ]
    three = "(a) CT. (b) MRI. (c) PET."
    assert panels_of(figure, three, "split") == [Panel("whole", three, None)]
    assert panels_of(figure, caption, "split_or_drop") == panels_of(figure, caption, "split")
    for choice in ("drop", "split_or_drop"):
        with pytest.raises(BadRecordError, match="2 panels seen, 3 labelled"):
            panels_of(figure, three, choice)
    with pytest.raises(BadRecordError, match=r"2 panels seen, 2 labelled .* too small"):
        panels_of(figure, caption, "split_or_drop", min_side=61)
    single = Image.fromarray(noise(1, 60, 60))
    for choice in ("keep", "split", "split_or_drop", "drop"):
        assert panels_of(single, "A cyst", choice) == [Panel("", "A cyst", None)]


@needs_realdata
def test_the_eight_real_figures() -> None:
    folder = REALDATA / "embeddings/MMKDCLIP_DATA"
    found = {}
    for line in (folder / "meta.jsonl").read_text().splitlines():
        row = json.loads(line)
        with Image.open(folder / row["imgpath"]) as image:
            panels = panels_of(image.convert("RGB"), row["txt"], "split")
        found[row["id"][:6]] = [panel.label for panel in panels]
    assert found.pop("0f8162") == list("abcde"), "labelled as a single panel by its source"
    assert found.pop("0e1a56") == ["a", "b"]
    assert found.pop("0d2177") == ["whole"], "(A) and (B) stand behind what they label"
    assert set(map(tuple, found.values())) == {("",)}, "two of them are labelled as multiple panels by their source"
