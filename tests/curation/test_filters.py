"""Every filter of the table: off by default, rejects what it is for, lets the rest pass, and gives the reason."""

import json
from typing import Any

import numpy as np
import pytest
from corpus_samples import REALDATA, needs_realdata, noise
from PIL import Image, ImageDraw
from pydantic import ValidationError

from mmkd.curation.facts.image import SMALL_SIDE, ImageFacts, channel_sum, graphic_signs
from mmkd.curation.facts.pairs import FigureText, Pair, PairText, known
from mmkd.curation.filters.decide import FIGURE_FILTERS, IMAGE_FILTERS, PAIR_FILTERS, Filter, check
from mmkd.curation.modality.votes import NAMED, Vote
from mmkd.curation.settings.selection import FilterSettings
from mmkd.reasons import BadRecordError

CAPTION = "Axial CT shows a cyst in the left kidney"


def figure(
    caption: str = CAPTION, labels: tuple[str, ...] = ("computerized tomography",), licence: str = "CC BY 4.0",
    language: str = "en",
) -> FigureText:  # fmt: skip
    return known(FigureText({"id": "r", "licence": licence}, caption, caption, "", labels, ""), language=language)


def pair(caption: str = CAPTION, named: bool = True) -> PairText:
    return known(figure(caption).whole, vote=Vote("ct", NAMED) if named else None)


def picture(array: np.ndarray, named: bool = False) -> Pair:
    image = Image.fromarray(array)
    return Pair(pair(named=named), ImageFacts(image.size, image), dict)


def plot(size: tuple[int, int] = (300, 200)) -> np.ndarray:
    """Axes, ticks and a curve on white."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    draw.line([(30, 10), (30, 180), (290, 180)], fill="black", width=2)
    points = [(x, 100 + 60 * np.sin(x / 25)) for x in range(32, 288, 4)]
    draw.line(points, fill="blue", width=2)
    for x in range(40, 290, 30):
        draw.text((x, 185), str(x), fill="black")
    return np.asarray(image)


# filter -> settings that turn it on, facts that it rejects and lets pass, what its reason must say
REJECTED: dict[str, tuple[dict[str, Any], Any, Any, str]] = {
    "licence": ({"licences": ["permissive"]}, figure(licence="CC BY-NC"), figure(), "'CC BY-NC' is non-commercial"),
    "nonclinical labels": (
        {"nonclinical": ["labels"]},
        figure(labels=("bar plot", "Plots and Charts")),
        figure(),
        "bar plot",
    ),
    "language": ({"languages": ["en", "fr"]}, figure(language="es"), figure(), "es; accepted: en, fr"),
    "content": ({"content": True}, pair("Figure 2. See text for details."), pair(), "says nothing"),
    "min_words": ({"min_words": 9}, pair("a cyst"), pair(), "2 words, at least 9"),
    "max_words": ({"max_words": 3}, pair(), pair("a cyst"), "9 words, at most 3"),
    "nonclinical caption": (
        {"nonclinical": ["caption"]},
        pair("Kaplan-Meier curves of survival", named=False),
        pair(),
        "'Kaplan-Meier'",
    ),
    "aspect": ({"max_aspect": 3}, picture(noise(1, 20, 100)), picture(noise(2, 40, 60)), "100 x 20 pixels are 5.0 : 1"),
    "contrast": (
        {"min_contrast": 2},
        picture(np.full((40, 40, 3), 90, np.uint8)),
        picture(noise(2, 40, 60)),
        "deviate by 0.00",
    ),
    "nonclinical image": (
        {"nonclinical": ["image"], "max_paper": 0.8},
        picture(plot()),
        picture(noise(2, 40, 60)),
        "straight lines",
    ),
}


@pytest.mark.parametrize("entry", [*FIGURE_FILTERS, *PAIR_FILTERS, *IMAGE_FILTERS], ids=lambda entry: entry.name)
def test_a_filter_rejects_what_it_is_for(entry: Filter[Any]) -> None:
    settings, bad, good, detail = REJECTED[entry.name]
    assert entry.rejects(bad, FilterSettings()) == "", "off by default"
    check(good, [entry], FilterSettings(**settings))
    with pytest.raises(BadRecordError) as caught:
        check(bad, [entry], FilterSettings(**settings))
    assert caught.value.reason == entry.reason
    assert caught.value.detail.startswith(f"{entry.name}: ")
    assert detail in caught.value.detail


def test_filters_that_are_off_work_out_no_facts() -> None:
    text, image = pair(), picture(plot())
    check(image, IMAGE_FILTERS, FilterSettings())
    check(figure(), FIGURE_FILTERS, FilterSettings())
    check(text, PAIR_FILTERS, FilterSettings())
    assert not {"small_rgb", "contrast", "signs"} & vars(image.image).keys()
    assert "panels_labelled" not in vars(text.figure)


def test_every_setting_belongs_to_a_filter() -> None:
    used = {key for rejected in REJECTED.values() for key in rejected[0]}
    assert used == set(FilterSettings.model_fields)


def test_a_modality_named_or_a_clinical_label_saves_a_figure() -> None:
    strict = FilterSettings(nonclinical=["labels", "caption", "image"])
    check(pair("Workflow: axial CT and its mask"), PAIR_FILTERS, strict)
    check(figure(labels=("plot", "light microscopy")), FIGURE_FILTERS, strict)
    check(picture(plot(), named=True), IMAGE_FILTERS, strict)


def test_a_caption_of_unknown_language_is_kept() -> None:
    check(figure(language=""), FIGURE_FILTERS, FilterSettings(languages=["en"]))


def test_unknown_licence_classes_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"unknown licence classes \['free'\]; they are permissive, "):
        FilterSettings(licences=["free"])


@pytest.mark.parametrize("name", ["english", "EN", "eng", ""])
def test_a_language_that_no_caption_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"unknown languages .* those that can be detected are ar, de, .*en, "):
        FilterSettings(languages=["de", name])


def test_channels_are_added_as_numpy_adds_them() -> None:
    image = noise(7, 9, 13)
    np.testing.assert_array_equal(channel_sum(image), image.sum(axis=2))


def test_signs_worked_by_hand() -> None:
    image = np.full((100, 100, 3), 255, np.uint8)
    image[90:92, 10:80] = 0  # a rule of 70 of 100 pixels, two thick
    image[10:50, 0:60] = 0  # a block, too thick for a rule; its columns are 40 long
    signs = graphic_signs(image)
    assert (signs.paper, signs.colours, signs.lines) == ((10_000 - 140 - 2400) / 10_000, 2, 1)
    assert signs.drawn()
    assert [signs.drawn(much) for much in (0.795, 0.797, 0.8)] == [True, False, False], "0.746 and a rule"
    assert not graphic_signs(noise(3, 64, 64)).drawn()


def test_facts_are_of_a_small_copy_in_the_colours_of_the_picture() -> None:
    facts = picture(noise(4, 300, 900)).image
    assert facts.size == (900, 300)
    assert facts.small_rgb.shape == (round(300 * SMALL_SIDE / 900), SMALL_SIDE, 3)
    grey = picture(np.arange(256, dtype=np.uint8).reshape(16, 16)).image
    assert grey.small_rgb.shape == (16, 16, 3)


@needs_realdata
def test_no_clinical_picture_of_the_real_pairs_looks_drawn() -> None:
    rows = [json.loads(line) for line in (REALDATA / "pairs/pairs.jsonl").read_text().splitlines()]
    drawn = {True: 0, False: 0}
    for row in rows[::40] + [row for row in rows if row["id"].startswith("pmc")]:
        with Image.open(REALDATA / "pairs" / row["image"]) as image:
            drawn[row["modality"] == "Other"] += ImageFacts(image.size, image).signs.drawn()
    assert drawn[False] == 0
    assert drawn[True] >= 8, "plots and diagrams of the PMC figures"
