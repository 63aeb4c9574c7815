"""What a cell of captions means: words for a missing value, lists that are written as text."""

from typing import Any

import pytest

from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import caption_cell, captions_in

WORDS = ["nan", "NaN", "None", "NULL", "null", "N/A", "n/a", "NA", "<NA>", "#N/A", " nan ", "-", "---", "???", "."]


@pytest.mark.parametrize("word", [*WORDS, b"nan", "…", "-1.#IND"])
def test_a_word_for_a_missing_value_is_no_caption(word: str | bytes) -> None:
    assert caption_cell(word) is None
    with pytest.raises(BadRecordError) as caught:
        captions_in(word, "one")
    assert caught.value.reason == Reason.MISSING_FIELD


@pytest.mark.parametrize(
    "text",
    ["no nan here", "None of the lobes", "NA level 140", "胸部", "رئة", "5", "", " ", b"lung", "\ud800", b"\xff"],
)
def test_other_text_is_as_it_is(text: str | bytes) -> None:
    assert caption_cell(text) is text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('["first", "second"]', ["first", "second"]),
        ("['a', 'b']", ["a", "b"]),
        ("['a' 'b']", ["a", "b"]),  # as numpy writes it
        ("""["it's one", 'two, "quoted"']""", ["it's one", 'two, "quoted"']),
        ('[ "one" ]', ["one"]),
    ],
)
def test_a_list_written_as_text_is_a_list(text: str, meant: list[str]) -> None:
    assert caption_cell(text) == meant
    assert captions_in(text, "all") == meant
    assert captions_in(text, "first") == meant[:1]
    with pytest.raises(BadRecordError, match=rf"a list of {len(meant)} texts, expected one; set captions ="):
        captions_in(text, "one")


@pytest.mark.parametrize(
    "text", ["[Figure 1] lung", "[1, 2]", '["a", 1]', "['a', b'c']", '["a"] and ["b"]', "['a', x]", "['a\\m' + 'b']"]
)
def test_text_in_brackets_that_is_no_list_of_texts_stays_text(text: str) -> None:
    assert caption_cell(text) == text


def test_words_within_a_list_are_missing_elements() -> None:
    value: Any = ["first", "nan", None, "---"]
    assert caption_cell(value) == ["first", None, None, None]


def test_missing_elements_of_a_list_are_left_out() -> None:
    for value in (["first", "nan", None, "---"], '["first", "N/A"]', ["nan", "first"]):
        assert captions_in(value, "all") == ["first"]
        assert captions_in(value, "first") == ["first"]
    for value in (["nan"], "['nan']", [None, "---"], []):
        with pytest.raises(BadRecordError, match="no caption, or a word for none"):
            captions_in(value, "all")
