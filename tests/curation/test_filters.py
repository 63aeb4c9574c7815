"""Every filter of the table: off by default, refuses what it is for, lets the rest pass, and says why."""

import json

import numpy as np
import pytest
from corpus_samples import REALDATA, needs_realdata, noise
from PIL import Image, ImageDraw
from pydantic import ValidationError

from mmkd.curation.filters.facts import SMALL_SIDE, ImageFacts, WordFacts, image_facts
from mmkd.curation.filters.graphic import channel_sum, graphic_signs
from mmkd.curation.filters.table import (
    IMAGE_FILTERS,
    WORD_FILTERS,
    ImageFilter,
    WordFilter,
    check_image,
    check_words,
    looks_at_images,
)
from mmkd.curation.settings.selection import FilterSettings
from mmkd.reasons import BadRecordError

WORDS = WordFacts("Axial CT shows a cyst in the left kidney", ("computerized tomography",), "CC BY 4.0", "en", True)


def words(**changed: object) -> WordFacts:
    return WordFacts(**{**WORDS.__dict__, **changed})


def picture(array: np.ndarray, named: bool = False) -> ImageFacts:
    return image_facts(Image.fromarray(array), named)


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


# filter -> settings that turn it on, facts that it refuses, what its reason must say
REFUSED_WORDS = {
    "licence": ({"licences": ["permissive"]}, words(licence="CC BY-NC"), "'CC BY-NC' is non-commercial"),
    "nonclinical labels": ({"nonclinical": ["labels"]}, words(labels=("bar plot", "Plots and Charts")), "bar plot"),
    "content": ({"content": True}, words(caption="Figure 2. See text for details."), "says nothing"),
    "min_words": ({"min_words": 9}, words(caption="a cyst"), "2 words, at least 9"),
    "max_words": ({"max_words": 3}, WORDS, "9 words, at most 3"),
    "language": ({"languages": ["en", "fr"]}, words(language="es"), "es; accepted: en, fr"),
    "nonclinical caption": (
        {"nonclinical": ["caption"]},
        words(caption="Kaplan-Meier curves of survival", named=False),
        "'Kaplan-Meier'",
    ),
}
REFUSED_IMAGES = {
    "aspect": ({"max_aspect": 3}, picture(noise(1, 20, 100)), "100 x 20 pixels are 5.0 : 1"),
    "contrast": ({"min_contrast": 2}, picture(np.full((40, 40, 3), 90, np.uint8)), "deviate by 0.00"),
    "nonclinical image": ({"nonclinical": ["image"], "max_paper": 0.8}, picture(plot()), "straight lines"),
}


@pytest.mark.parametrize("entry", WORD_FILTERS, ids=lambda entry: entry.name)
def test_a_word_filter_refuses_what_it_is_for(entry: WordFilter) -> None:
    settings, bad, told = REFUSED_WORDS[entry.name]
    assert entry.refuses(bad, FilterSettings()) == "", "off by default"
    assert entry.refuses(words(caption="a cyst") if bad is WORDS else WORDS, FilterSettings(**settings)) == ""
    with pytest.raises(BadRecordError) as caught:
        check_words(bad, FilterSettings(**settings))
    assert caught.value.reason == entry.reason
    assert caught.value.detail.startswith(f"{entry.name}: ")
    assert told in caught.value.detail


@pytest.mark.parametrize("entry", IMAGE_FILTERS, ids=lambda entry: entry.name)
def test_an_image_filter_refuses_what_it_is_for(entry: ImageFilter) -> None:
    settings, bad, told = REFUSED_IMAGES[entry.name]
    assert looks_at_images(FilterSettings(**settings))
    assert not looks_at_images(FilterSettings())
    assert entry.refuses(bad, FilterSettings()) == "", "off by default"
    assert entry.refuses(picture(noise(2, 40, 60)), FilterSettings(**settings)) == ""
    with pytest.raises(BadRecordError) as caught:
        check_image(bad, FilterSettings(**settings))
    assert caught.value.reason == entry.reason
    assert told in caught.value.detail


def test_every_setting_belongs_to_a_filter() -> None:
    used = {key for settings, *_ in [*REFUSED_WORDS.values(), *REFUSED_IMAGES.values()] for key in settings}
    assert used == set(FilterSettings.model_fields)


def test_a_modality_named_or_a_clinical_label_saves_a_figure() -> None:
    strict = FilterSettings(nonclinical=["labels", "caption", "image"])
    check_words(words(caption="Workflow: axial CT and its mask"), strict)
    check_words(words(labels=("plot", "light microscopy")), strict)
    check_image(picture(plot(), named=True), strict)


def test_a_language_that_is_not_shown_is_kept() -> None:
    check_words(words(language=""), FilterSettings(languages=["en"]))


def test_unknown_licence_classes_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"unknown licence classes \['free'\]; they are permissive, "):
        FilterSettings(licences=["free"])


@pytest.mark.parametrize("name", ["english", "EN", "eng", ""])
def test_a_language_that_no_caption_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"unknown languages .* those that can be told are ar, de, .*en, "):
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
    facts = image_facts(Image.fromarray(noise(4, 300, 900)), named=False)
    assert facts.size == (900, 300)
    assert facts.small_HW3.shape == (round(300 * SMALL_SIDE / 900), SMALL_SIDE, 3)
    grey = image_facts(Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)), named=False)
    assert grey.small_HW3.shape == (16, 16, 3)


@needs_realdata
def test_no_clinical_picture_of_the_real_pairs_looks_drawn() -> None:
    rows = [json.loads(line) for line in (REALDATA / "pairs/pairs.jsonl").read_text().splitlines()]
    drawn = {True: 0, False: 0}
    for row in rows[::40] + [row for row in rows if row["id"].startswith("pmc")]:
        with Image.open(REALDATA / "pairs" / row["image"]) as image:
            drawn[row["modality"] == "Other"] += graphic_signs(image_facts(image, named=False).small_HW3).drawn()
    assert drawn[False] == 0
    assert drawn[True] >= 8, "plots and diagrams of the PMC figures"
