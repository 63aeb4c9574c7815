"""Captions as people wrote them: without the markup of the files they were taken from, otherwise unchanged.

Case, punctuation, Greek letters and comparisons such as "p < 0.05 and T > 3" survive; `<` counts as markup only when it
opens a known HTML or JATS tag (the XML of PubMed Central). LaTeX is undone where its meaning is plain.
"""

import html
import re
import unicodedata
from html.entities import html5

_INLINE = (
    "a abbr b bold code del dfn em email ext-link fn font i img inline-formula inline-graphic ins italic "
    "kbd label mark math mml:[a-z]+ monospace named-content overline q roman s sans-serif sc small span strike strong "
    "styled-content sub sup tex-math tt u underline uri var xref"
)
_BLOCK = (
    "article big blockquote body br break caption center dd disp-formula div dl dt fig figcaption graphic h[1-6] head "
    "hr html li list list-item media ol p pre sec section table tbody td tfoot th thead title tr ul"
)
_ATTRIBUTES = r"""(?:\s+[\w:.-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+))*\s*/?"""


def _tags(names: str) -> re.Pattern[str]:
    return re.compile(rf"</?(?:{'|'.join(names.split())}){_ATTRIBUTES}>", re.IGNORECASE)


_RAISED = re.compile(rf"<sup{_ATTRIBUTES}>\s*(?=[-+−]?\d)", re.IGNORECASE)  # 10<sup>3</sup> is not 103
_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa mu nu xi pi rho sigma tau phi chi psi omega"
_SIGNS = (
    "lambda λ Gamma Γ Delta Δ Theta Θ Lambda Λ Sigma Σ Phi Φ Psi Ψ Omega Ω times × cdot · pm ± le ≤ leq ≤ ge ≥ geq ≥ "
    "neq ≠ approx ≈ sim ~ infty ∞ rightarrow → to → circ ° degree ° prime ′ dagger †"
)
_SYMBOLS = {name: unicodedata.lookup(f"GREEK SMALL LETTER {name.upper()}") for name in _GREEK.split()}
_SYMBOLS |= dict(re.findall(r"(\S+) (\S+)", _SIGNS))
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]*);")
_MATHS = re.compile(r"\$\$?([^$]*)\$\$?")
_MATHS_SIGNS = re.compile(r"[\\^_{]")  # without one of these it is two prices
_COMMAND = re.compile(r"\\([A-Za-z]+)")

# In this order; each rule makes the text shorter or leaves it, so that repeating them comes to an end.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"&(?:(?:amp|#38|#x26);)+"), "&"),  # escaped several times over
    (re.compile(r"<!--.*?-->|<\?[A-Za-z][^<>]*\?>", re.DOTALL), " "),
    (re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL), r"\1"),
    (_RAISED, "^"),
    (_tags(_INLINE), ""),
    (_tags(_BLOCK), " "),
    (re.compile(r"\\documentclass.*?\\begin\{document\}|\\end\{document\}", re.DOTALL), ""),
    (re.compile(r"\\(?:text(?:it|bf|rm|sc|sf|tt)?|math(?:rm|bf|it|sf|cal)|emph|mbox|hbox)\s*\{([^{}\\]*)\}"), r"\1"),
    (re.compile(r"\^\{([^{}\\]{1,40})\}"), r"^\1"),
    (re.compile(r"_\{([^{}\\]{1,40})\}"), r"\1"),  # as with <sub>: CO2
    (re.compile(r"\^([°′†])"), r"\1"),
    (re.compile(r"\\([%&#$])"), r"\1"),
)


JOINERS = "\u200c\u200d"
_LOOSE_JOINERS = re.compile(rf"(?<!\S)[{JOINERS}]+|[{JOINERS}]+(?!\S)")


def clean_caption(text: str) -> str:
    """The caption in NFC, on one line, without tags, entities, control characters and zero-width ones outside words.

    Idempotent: the rules are repeated until nothing changes, since undoing one escape may uncover another.
    """
    while (cleaner := _cleaned_once(text)) != text:
        text = cleaner
    return text


def _cleaned_once(text: str) -> str:
    if "&" in text:
        text = _ENTITY.sub(_entity, text)
    if any(sign in text for sign in "&<\\$^_"):
        text = _MATHS.sub(_maths, text)
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        text = _COMMAND.sub(_symbol, text)
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", "".join(_visible(c) for c in text))
    return _LOOSE_JOINERS.sub("", " ".join(text.split()))


def _entity(match: re.Match[str]) -> str:
    """The character of an entity; unknown names stay, where `html.unescape` would take a part of them."""
    entity = match[0]
    return html.unescape(entity) if entity[1] == "#" else html5.get(entity[1:], entity)


def _maths(match: re.Match[str]) -> str:
    """Maths without its dollars; a command at its end must not run into the letters that follow."""
    return _COMMAND.sub(_symbol, match[1]) if _MATHS_SIGNS.search(match[1]) else match[0]


def _symbol(match: re.Match[str]) -> str:
    return _SYMBOLS.get(match[1], match[0])


def _visible(character: str) -> str:
    """Nothing for format characters (zero-width space, soft hyphen, direction), a blank for controls and white space.

    Zero-width joiners and non-joiners inside words are spelling, of Persian for instance.
    """
    category = unicodedata.category(character)
    if category == "Cf":
        return character if character in JOINERS else ""
    return " " if category == "Cc" or character.isspace() else character
