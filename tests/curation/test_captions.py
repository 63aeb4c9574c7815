"""Languages and references of captions."""

import json
import re
import time

import pytest
from corpus_samples import REALDATA, needs_realdata
from hypothesis import given
from hypothesis import strategies as st

from mmkd.curation.captions.clean import clean_caption
from mmkd.curation.captions.drawn import BEGINNING, drawn_word, drawn_words
from mmkd.curation.captions.language import language_of
from mmkd.curation.captions.references import has_content, strip_references
from mmkd.curation.facts.pairs import MAX_CAPTION
from mmkd.curation.modality.votes import caption_vote
from mmkd.curation.panels.split import sub_captions

LANGUAGES = ("en", "es", "fr", "de", "pt", "it", "nl", "pl", "tr", "sv", "zh", "ja", "ko", "ru", "ar", "el")
PIECES = ["Figure 1", "Fig. 2b", "(A)", "(a–c)", "(Fig. 3)", ":", ".", "CT of", "the", "lung", "Fig", "(5)", "A", "1"]


@pytest.mark.parametrize(
    ("language", "caption"),
    [
        ("en", "Axial image of the chest shows a nodule in the left lung"),
        ("es", "Radiografía de tórax que muestra una opacidad en el lóbulo inferior del pulmón"),
        ("fr", "Coupe axiale du thorax montrant une opacité dans le poumon droit chez un patient"),
        ("de", "Axiales Bild der Lunge mit einem Rundherd und Erguss bei der Patientin"),
        ("pt", "Radiografia do tórax mostrando uma opacidade no pulmão e não nos brônquios"),
        ("it", "Immagine assiale del torace che mostra una opacità nel lobo inferiore della paziente"),
        ("nl", "Axiale opname van de thorax met een nodus in het linker deel van de long"),
        ("pl", "Obraz klatki piersiowej w projekcji bocznej, widoczny guzek oraz zmiany w płucu"),
        ("tr", "Akciğer grafisinde sol alt lobda izlendi ve bir lezyon ile olan görüntüsü"),
        ("sv", "Axiell bild av lungan som visar en förändring i höger lob och inte i den andra"),
        ("zh", "胸部CT显示左肺结节"),
        ("ja", "胸部CTにて左肺に結節を認める"),
        ("ko", "흉부 CT에서 왼쪽 폐 결절이 보인다"),
        ("ru", "На рентгенограмме грудной клетки видно затемнение"),
        ("ar", "صورة أشعة للصدر تظهر عتامة"),
        ("el", "Ακτινογραφία θώρακος που δείχνει σκίαση"),
        ("", "Left supraclavicular adenopathy"),
        ("", "β-Amyloid, α-synuclein"),
        ("", "H&E, ×400"),
        ("", ""),
    ],
)
def test_languages(language: str, caption: str) -> None:
    assert language_of(caption) == language


@given(st.text(max_size=200))
def test_any_text_has_a_language_or_none(text: str) -> None:
    assert language_of(text) in ("", *LANGUAGES)


@pytest.mark.parametrize(
    ("found", "stripped"),
    [
        ("Figure 1. CT of the lung.", "CT of the lung."),
        ("Fig. 2b: CT of the lung", "CT of the lung"),
        ("FIGURE 3 - MRI", "MRI"),
        ("Supplementary Fig. S4 | A cyst", "A cyst"),
        ("(A) CT and (B) MRI", "CT and MRI"),
        ("(a–c) Three views", "Three views"),
        ("Enlarged nodes (Fig. 3c).", "Enlarged nodes."),
        ("As in Figure 2, the node grew", "As in Figure 2, the node grew"),
        ("Film 2: axial", "axial"),
        ("Figures of speech", "Figures of speech"),
        ("a ratio (5) and a name (Smith)", "a ratio (5) and a name (Smith)"),
        ("Figure 7", ""),
    ],
)
def test_references_go_and_sentences_stay(found: str, stripped: str) -> None:
    assert strip_references(found) == stripped


@given(st.lists(st.sampled_from(PIECES)).map(" ".join))
def test_stripping_twice_changes_nothing_and_adds_nothing(caption: str) -> None:
    once = strip_references(caption)
    assert strip_references(once) == once
    assert len(once) <= len(caption)
    assert set(once.replace(" ", "")) <= set(caption)


@pytest.mark.parametrize(
    ("caption", "content"),
    [
        ("Figure 2.", False),
        ("See text for details.", False),
        ("Fig. 1 (A, B). Please see the legend", False),
        ("(a) (b) (c)", False),
        ("Graphical abstract", False),
        ("Replace this - DESCRIPTION OF THE IMAGE OR FINDINGS.", False),
        ("Normal.", True),
        ("Figure 2. Cyst (see text for details)", True),
        ("肺", False),  # one character; two or more are a word
        ("左肺", True),
    ],
)
def test_captions_without_content(caption: str, content: bool) -> None:
    assert has_content(caption) == content


@pytest.mark.parametrize(
    "unit", ["Figure 1. ", "(a) ", "(Fig. 1", "compared with the ", "(a, b, ", "a-", "no CT ", "hyper-"]
)
def test_the_longest_captions_do_not_stop_curation(unit: str) -> None:
    caption = (unit * MAX_CAPTION)[:MAX_CAPTION]
    begin = time.perf_counter()
    for check in (caption_vote, language_of, strip_references, has_content, sub_captions):
        check(caption)
    assert time.perf_counter() - begin < 5, "a pattern takes more than linear time"


@needs_realdata
def test_the_languages_of_the_real_captions() -> None:
    rows = [json.loads(line) for line in (REALDATA / "pairs/pairs.jsonl").read_text().splitlines()]
    own = {row["id"]: language_of(clean_caption(row["caption"])) for row in rows if row["caption_kind"] == "source"}
    assert {name: language for name, language in own.items() if language not in ("en", "")} == {"biomedica_0006": "es"}
    assert sum(language == "en" for language in own.values()) >= 0.85 * len(own)


@pytest.mark.parametrize(("pattern", "meant"), drawn_words().items())
def test_every_word_for_a_drawn_figure_finds_what_it_is_meant_for(pattern: str, meant: str) -> None:
    assert drawn_word(f"Figure 2. The {meant.upper()} of it").casefold() == meant.casefold()
    assert drawn_word(f"Figure 2. The x{meant}").casefold() != meant.casefold()  # a part of a longer word
    assert re.fullmatch(pattern, meant, re.IGNORECASE)


def test_what_is_drawn_is_said_at_the_beginning() -> None:
    assert drawn_word("x" * (BEGINNING - 10) + " histogram") == "histogram"
    assert drawn_word("x" * (BEGINNING - 5) + " histogram") == ""
    assert drawn_word("Flow diagram") == "Flow diagram", "not its last word alone"
