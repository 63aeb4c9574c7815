"""What the docstring of a settings class says of each of its keys: `key: meaning. other, third: meaning.`"""

import inspect
import re
from collections.abc import Iterator
from itertools import zip_longest

from mmkd.settings import Settings


def meanings(kind: type[Settings]) -> dict[str, str]:
    """Key -> what it means, for all keys that the docstring of the class, or of one it inherits from, explains."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if issubclass(one, Settings) and one is not Settings:
            found.update(_explained(one, set(kind.model_fields)))
    return found


def summary(kind: type[Settings]) -> str:
    """The docstring without its explanations of keys."""
    kept = []
    for paragraph in _paragraphs(kind):
        first = next(_marks(paragraph, set(kind.model_fields)), None)
        text = paragraph if first is None else paragraph[: first.start()]
        if text.strip():
            kept.append(text.strip())
    return "\n\n".join(kept)


def _explained(kind: type[Settings], keys: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for paragraph in _paragraphs(kind):
        marks = list(_marks(paragraph, keys))
        for mark, following in zip_longest(marks, marks[1:]):
            text = (
                paragraph[mark.end() : following.start() if following else len(paragraph)].strip().rstrip(";").strip()
            )
            found.update(dict.fromkeys(re.findall(r"\w+", mark[1].replace(" and ", " ")), text))
    return found


def _marks(paragraph: str, keys: set[str]) -> Iterator[re.Match[str]]:
    """Where an explanation begins: one key or several and a colon, at the start of a sentence."""
    name = "|".join(sorted(map(re.escape, keys), key=len, reverse=True))
    return re.finditer(rf"(?:(?<=^)|(?<=[.;:)] ))((?:{name})(?:(?:, | and )(?:{name}))*): ", paragraph)


def _paragraphs(kind: type[Settings]) -> list[str]:
    text = inspect.cleandoc(kind.__doc__ or "")
    return [re.sub(r"\s*\n\s*", " ", paragraph) for paragraph in text.split("\n\n")]
