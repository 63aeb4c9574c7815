import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.curation.captions.clean import clean_caption

PIECES = r"< > & amp; lt; #38; $ \ { } ^ _ sup <b> </b> <!-- --> \alpha \circ \text{ <![CDATA[ ]]> &nbsp; mu a e 1"
MARKUP = st.lists(st.sampled_from(PIECES.split(" ")) | st.sampled_from(" \n\u0301\u200b\u200c\u200d\u00a0")).map(
    "".join
)


@pytest.mark.parametrize(
    ("found", "cleaned"),
    [
        ("p < 0.05 and T > 3", "p < 0.05 and T > 3"),
        ("p<0.05, n>30; a<b and c>d", "p<0.05, n>30; a<b and c>d"),
        ("p &lt; 0.05 &amp; T &gt; 3", "p < 0.05 & T > 3"),
        ("p &amp;amp;lt; 0.05", "p < 0.05"),
        ("H&E stain, AT&T, &notanentity;", "H&E stain, AT&T, &notanentity;"),
        ("5&#160;&micro;m, 37&#xb0;C", "5 µm, 37°C"),
        ("<p>A <italic>Candida</italic> lesion<br/>(arrow)</p>", "A Candida lesion (arrow)"),
        ('see <xref ref-type="fig" rid="F1">Fig. 1</xref>', "see Fig. 1"),
        ("CO<sub>2</sub>, 10<sup>3</sup> cells/mm<sup>-2</sup>, CD4<sup>+</sup>", "CO2, 10^3 cells/mm^-2, CD4+"),
        ("<mml:math><mml:mi>x</mml:mi></mml:math>", "x"),
        ("a <!-- note --> b <![CDATA[c < d]]>", "a b c < d"),
        (r"$\alpha = 0.05$, 5 $\mu$m, $10^{3}$, CO$_{2}$, 37$^{\circ}$C", "α = 0.05, 5 μm, 10^3, CO2, 37°C"),
        (r"\documentclass{minimal}\usepackage{x}\begin{document}$$\beta$$\end{document}", "β"),
        (r"\textit{E. coli} and \mathrm{T}_{max}", "E. coli and Tmax"),
        ("between $5 and $6", "between $5 and $6"),
        (r"50\% of \unknown{x}", r"50% of \unknown{x}"),
        ("soft\u00adhyphen, zero\u200bwidth\ufeff, a\u00a0b", "softhyphen, zerowidth, a b"),
        ("tab\tand\r\nline\x00\x1f end\u2028", "tab and line end"),
        ("e\u0301de\u0300me", "édème"),
        ("Größe β-Amyloid ½ ﬁbre 10 µm → 😀", "Größe β-Amyloid ½ ﬁbre 10 µm → 😀"),
        (" \n\t\u200b<p> </p>", ""),
        (
            "\u0645\u06cc\u200c\u0634\u0648\u062f",
            "\u0645\u06cc\u200c\u0634\u0648\u062f",
        ),  # Persian: two parts of a word
        ("\U0001f469\u200d\u2695\ufe0f seen", "\U0001f469\u200d\u2695\ufe0f seen"),  # a woman who is a health worker
        ("\u200da \u200c b\u200d", "a b"),
    ],
)
def test_markup_goes_and_meaning_stays(found: str, cleaned: str) -> None:
    assert clean_caption(found) == cleaned


@given(st.one_of(st.text(), MARKUP))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean_caption(text)
    assert clean_caption(once) == once


@given(st.one_of(st.text(), MARKUP))
def test_the_result_is_one_normalised_visible_line(text: str) -> None:
    cleaned = clean_caption(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == " ".join(cleaned.split())
    joiners = "\u200c\u200d"
    assert not {unicodedata.category(character) for character in cleaned if character not in joiners} & {"Cc", "Cf"}
    assert all(word == word.strip(joiners) for word in cleaned.split())


@given(st.text(string.ascii_letters + string.digits + ".,;:!?()[]%+-=/<> αβμ"))
def test_plain_sentences_lose_nothing_but_blanks(text: str) -> None:
    spaced = text.replace("<", " < ").replace(">", " > ")  # never a tag
    assert clean_caption(spaced) == " ".join(spaced.split())
