"""Cells of tables as text, and names of columns."""

import ast
import io
import json
import re
import tokenize
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmkd.errors import DataError
from mmkd.folders.remote import File
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.dialect import NOT_UTF8

EXACT = 2**53  # whole numbers below it are exact as floats
Captions = Literal["one", "first", "all"]
NO_TEXT = frozenset(
    ["nan", "-nan", "none", "null", "n/a", "na", "<na>", "#n/a", "#n/a n/a", "#na", "-1.#ind", "1.#qnan", "-1.#qnan"]
)
"""In small letters, what programs write for a value that is missing."""
_WHOLE = re.compile(r"([1-9][0-9]*|0)\.0+")


def as_text(value: object) -> str:
    """A field as text, "" for a missing one (None or NaN); 101 and 101.0 are the same.

    Raises BadRecordError when it is not UTF-8, and for lists and objects, which have no text. Text that was decoded
    with `surrogateescape` counts as not UTF-8 where it holds escaped bytes.
    """
    if is_container(value):
        raise BadRecordError(Reason.UNREADABLE_ROW, f"{kind_of(value)} found, expected text or a number")
    if value is None or value != value:  # NaN is how tables made by pandas spell a missing field
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)  # a column of whole numbers with gaps is one of floats
    try:
        if isinstance(value, bytes):
            return value.decode()
        text = str(value)
        text.encode()
    except UnicodeError as error:
        raise BadRecordError(Reason.NOT_UTF8, _why_not_utf8(error)) from None
    return text


def _why_not_utf8(error: UnicodeError) -> str:
    """Bytes of another encoding, or in JSON the escape of half a character."""
    half = error.object[error.start] if isinstance(error, UnicodeEncodeError) else "\udc80"
    if "\udc80" <= half <= "\udcff":  # as `surrogateescape` decodes such bytes
        return NOT_UTF8
    return f"half of a character found (\\u{ord(half):04x} without its other half); correct the text where it was made"


def as_name(value: object) -> str:
    """Text that tells patients or articles apart, in one spelling: NFC, no blanks around it, `101` for `101.0`.

    Zeros in front stay: `007` is not 7.
    """
    text = unicodedata.normalize("NFC", as_text(value).strip())
    return whole[1] if (whole := _WHOLE.fullmatch(text)) else text


def told_cell(value: Any) -> Any:
    """A cell that tells a fact, such as a patient or a modality: None for a text that is a word for a missing value
    (nan, N/A, NULL). All else as it is."""
    return None if isinstance(value, str | bytes) and _plain(value).casefold() in NO_TEXT else value


def _plain(text: str | bytes) -> str:
    """Without blanks around it; bytes that are no UTF-8 as `surrogateescape` has them."""
    return (text if isinstance(text, str) else text.decode(errors="surrogateescape")).strip()


def caption_cell(value: Any) -> Any:
    """A cell of captions as it is meant: None where the whole text is a word for a missing value (nan, N/A, NULL) or
    has no letter and no digit (---, ???), a list for the text of one, as CSV holds it. All else, and blanks, as it is.
    """
    if isinstance(value, list):
        return [one if isinstance(one, list) else caption_cell(one) for one in value]
    if not isinstance(value, str | bytes):
        return value
    text = _plain(value)
    if text and (text.casefold() in NO_TEXT or not any(map(_says_something, text))):
        return None
    found = _list_in(text)
    return value if found is None else [caption_cell(one) for one in found]


def _says_something(character: str) -> bool:
    """A letter or digit, or a byte that is not UTF-8, which is another fault."""
    return character.isalnum() or "\ud800" <= character <= "\udfff"


def _list_in(text: str) -> list[str] | None:
    """The texts of `["a", "b"]` (JSON, Python) and `['a' 'b']` (numpy); None for what is no such list."""
    if not (text.startswith("[") and text.endswith("]")) or not text[1:].lstrip().startswith(("'", '"')):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = _python_list(text)
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else None


def _python_list(text: str) -> object:
    """String by string: to Python, strings without a comma between are one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes
            whole = ast.literal_eval(text)
            tokens = tokenize.generate_tokens(io.StringIO(text).readline)
            strings = [ast.literal_eval(token.string) for token in tokens if token.type == tokenize.STRING]
    except (ValueError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    return strings if isinstance(whole, list) and all(isinstance(one, str) for one in whole) else None


def captions_in(value: object, choice: Captions) -> list[str | bytes]:
    """The captions of a record, at least one, of which lists hold several; missing ones in a list are left out. A
    number is none, and a word for a missing value is missing (`caption_cell`).

    Raises BadRecordError where there is none, for a list unless `choice` says what to take, and for what is no text.
    """
    value = caption_cell(value)
    listed = value if isinstance(value, list) else [value]
    listed = [one for one in listed if is_container(one) or not (one is None or one != one)]
    if not listed:
        raise BadRecordError(Reason.MISSING_FIELD, "the row has no caption, or a word for none such as nan or N/A")
    texts = [one for one in listed if isinstance(one, str | bytes)]
    if wrong := [one for one in listed if not isinstance(one, str | bytes)]:
        raise BadRecordError(Reason.UNREADABLE_ROW, f"the caption is {kind_of(wrong[0])}, expected text")
    if isinstance(value, list) and choice == "one":
        raise BadRecordError(
            Reason.UNREADABLE_ROW,
            f'the caption is a list of {len(listed)} texts, expected one; set captions = "first" or "all"',
        )
    return texts if choice == "all" else texts[:1]


def is_container(value: object) -> bool:
    """Lists, objects, arrays."""
    return isinstance(value, Mapping | list | tuple | set | frozenset) or getattr(value, "ndim", 0) > 0


def kind_of(value: object) -> str:
    """For messages."""
    if isinstance(value, Mapping):
        return f"an object with the keys {', '.join(map(repr, list(value)[:5]))}" if value else "an empty object"
    return "a list" if is_container(value) else f"a value of type {type(value).__name__}"


def distinct(path: File, columns: Sequence[str]) -> list[str]:
    """The columns. Raises DataError when a name stands twice: nobody can say which of them is meant."""
    named = [name for name in columns if name]
    if len(set(named)) < len(named):
        raise DataError(f"{path}: columns need distinct names, found {', '.join(columns)}; rename all but one of each")
    return list(columns)


def distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises BadRecordError where a key stands twice, of which `json` would take the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRecordError(Reason.UNREADABLE_ROW, f"the key {twice!r} stands twice in one object")
    return found


def matches(row: Mapping[str, Any], include: Mapping[str, list[str]]) -> bool:
    """Whether every column named in `include` has an accepted value; of a list of values, one accepted is enough."""
    return all(_accepted(row.get(column), values) for column, values in include.items())


def _accepted(value: object, values: list[str]) -> bool:
    found = value if isinstance(value, list) else [value]
    return any(spelling in values for one in found for spelling in _spellings(one))


def _spellings(value: object) -> tuple[str, ...]:
    """As the source has it, and 1 for 1.0; none of what no accepted value is."""
    if is_container(value):
        return ()
    whole = isinstance(value, float) and value.is_integer()
    return (str(value), as_text(value)) if whole else (str(value),)
