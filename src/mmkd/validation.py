"""From TOML to frozen settings: every problem of a file at once, and the key that was probably meant."""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mmkd.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
SHOWN = 60  # characters of a wrong value that a message repeats
DEEPEST = 50  # tables and lists in one another; what walks through them calls itself at each
DOTTED = re.compile(r"""(?:(?:[\w-]{1,99}|"[^"\n]{0,99}"|'[^'\n]{0,99}')[ \t]*\.[ \t]*){50}""")
"""A key of too many parts, for which tomllib takes time and memory that grow with their square."""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError when it is missing, no regular file, not UTF-8, not TOML or nested
    too deep."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # it would be waited for, or have no end
            raise ConfigError(f"{path}: a pipe or a device, which is not opened; write its text into a file")
        return parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a text. Raises ValueError when it is not TOML, or nested deeper than any recipe or card."""
    try:
        tables = None if DOTTED.search(text) else tomllib.loads(text)
    except RecursionError:
        tables = None
    level: list[Any] = [tables]
    for _ in range(DEEPEST):
        inside = [one for held in level for one in (held.values() if isinstance(held, dict) else held or ())]
        level = [one for one in inside if isinstance(one, dict | list)]
    if tables is None or level:
        raise ValueError(f"nested too deep; at most {DEEPEST} tables or lists in one another are read")
    return tables


def parse(model_class: type[Model], data: Any, where: str, context: Mapping[str, Any] | None = None) -> Model:
    """`data` as a `model_class`; `context` goes to the validators (`base`: the folder relative paths start from).

    Raises ConfigError that opens with `where` and lists every problem: its place, what was found, what was expected.
    """
    try:
        return model_class.model_validate(data, context=dict(context or {}))
    except ValidationError as error:
        problems = [_problem(model_class, data, found) for found in error.errors(include_url=False)]
        if len(problems) == 1:
            raise ConfigError(f"{where}: {problems[0]}") from None
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise ConfigError(f"{where}: {len(problems)} problems{listed}") from None


def nearest(name: str, known: Sequence[str]) -> str:
    """`did you mean 'x'?`, or the list of what is known when nothing comes near."""
    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"


def _problem(model_class: type[BaseModel], data: Any, error: ErrorDetails) -> str:
    place = _dotted(data, error["loc"], missing=error["type"] == "missing")
    if error["type"] == "extra_forbidden":
        return f"unknown key {place!r}; {nearest(str(error['loc'][-1]), _known_keys(model_class, error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{place}: missing"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    prefix = f"{place}: " if place else ""
    if error["type"] == "value_error":  # our own validators say what they found
        return prefix + message
    found = repr(error["input"])
    return f"{prefix}{message}, found {found if len(found) <= SHOWN else found[:SHOWN] + '...'}"


def _dotted(data: Any, loc: Sequence[int | str], missing: bool) -> str:
    """The place in the data (`sources[0].path`); pydantic's own steps, such as the tag of a union, are left out."""
    place = ""
    for depth, step in enumerate(loc):
        is_last = depth == len(loc) - 1
        if isinstance(data, Mapping) and (step in data or (missing and is_last)):
            place, data = f"{place}.{step}" if place else str(step), data.get(step)
        elif isinstance(data, list) and isinstance(step, int):
            place, data = f"{place}[{step}]", data[step] if step < len(data) else None
    return place


def _known_keys(model_class: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The keys that the table at `loc` may hold."""
    types: list[Any] = [model_class]
    for step in loc:
        types = [inner for outer in types for member in _members(outer) for inner in _inside(member, step)]
    models = [member for outer in types for member in _members(outer) if _is_model(member)]
    return sorted({str(key) for model in models for key in _fields(model)})


def _members(annotation: Any) -> Iterator[Any]:
    """The type itself, or the members of a union, without what `Annotated` adds."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _inside(annotation: Any, step: int | str) -> list[Any]:
    """The types one step further; the tag of a union leads to the member that bears it."""
    if _is_model(annotation):
        fields = _fields(annotation)
        tags = [annotation.__name__, *(tag for inner in fields.values() for tag in get_args(inner))]
        return [fields[step]] if step in fields else [annotation] if step in tags else []
    arguments = get_args(annotation)
    return [arguments[-1]] if get_origin(annotation) in (list, tuple, dict) else []


def _fields(model: type[BaseModel]) -> dict[int | str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel)
