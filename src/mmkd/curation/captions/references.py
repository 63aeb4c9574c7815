"""References to figures and panels in captions: "Figure 1.", "(A)", "Fig. 2b", and captions that are nothing else."""

import re

_NUMBER = r"(?:S?\d{1,3}(?:[.\-]\d{1,2})?|[IVX]{1,5}\b)"
_PANELS = r"(?:\s?\(?[A-Za-z](?:\s?[-–,&]\s?[A-Za-z])*\)?(?![A-Za-z]))?"
_NAME = r"(?:supplementary |additional )?(?:figures?|figs?|plates?|images?|film|abb(?:ildung)?|figura)"
_FIGURE = rf"{_NAME}\.?\s?#?{_NUMBER}{_PANELS}"
_LEADING = re.compile(rf"^(?:\W*{_FIGURE}\s*[.:,;|)\]–—-]*\s*)+", re.IGNORECASE)
_IN_BRACKETS = re.compile(rf"\s*[(\[](?:see |cf\.? |in )?(?:also )?{_FIGURE}[)\]]", re.IGNORECASE)
# "(A)", "(a–c)", "(a, b)", "(i)"; a bracket with a word or a number in it stays
PANEL_MARK = re.compile(r"\(\s?(?:[A-Za-z]|i{1,3}|iv|v)(?:\s?[-–,&]\s?(?:[A-Za-z]|i{1,3}|iv|v))*\s?\)(?=[\s:.,;]|$)")
_EMPTY_PHRASES = re.compile(
    r"(?:please )?(?:see|refer to|as described in|explained in) (?:the )?(?:main )?(?:text|legend|below|above|caption)"
    r"(?: for (?:more |further )?(?:details|explanations?|information|abbreviations))?"
    r"|(?:for|more) details?,? see (?:the )?text|(?:figure )?(?:legend|caption|continued|cont'd|graphical abstract)"
    r"|colou?r (?:figure|version)(?: (?:is )?available online)?|no caption(?: available)?|untitled|replace this.*",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[^\W\d_]{2,}")


def strip_references(caption: str) -> str:
    """The caption without the number of its figure in front, and without panel marks and figures in brackets.

    Idempotent. A sentence keeps its words: "as in Figure 2" stays, since it would not be a sentence without.
    """
    while (shorter := _stripped_once(caption)) != caption:
        caption = shorter
    return caption


def has_content(caption: str) -> bool:
    """Whether words are left once references and phrases like "see text for details" are gone."""
    return bool(_LETTERS.search(_EMPTY_PHRASES.sub(" ", strip_references(caption))))


def _stripped_once(caption: str) -> str:
    caption = _IN_BRACKETS.sub("", _LEADING.sub("", caption))
    caption = " ".join(PANEL_MARK.sub(" ", caption).split())
    return re.sub(r" ([.,;:])", r"\1", caption).lstrip(".:,; ")
