"""Tables of the keys of a settings class: type, default and meaning of each, as the code has them."""

import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from meanings import meanings, summary
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mmkd.settings import Settings

BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path", Any: "anything"}


def section(kind: type[Settings], title: str) -> str:
    """A heading, what the class is, and a table of its keys."""
    heading = f"`{title}`" if title.startswith("[") else title
    head = [f"## {heading}", summary(kind), "| key | type | default | meaning |\n|---|---|---|---|"]
    known = meanings(kind)
    rows = [
        f"| `{key}` | {_cell(type_of(field.annotation, field.metadata))} | {_cell(default_of(field))} "
        f"| {_cell(known.get(key) or _pointer(kind, key))} |"
        for key, field in kind.model_fields.items()
    ]
    return "\n\n".join(head) + "\n" + "\n".join([*rows, ""])


def nested(kind: type[Settings], title: str) -> Iterator[tuple[str, type[Settings]]]:
    """Titles and classes of a section and of all sections below it, in the order of the keys."""
    yield title, kind
    for name, field in kind.model_fields.items():
        for found, is_list, is_named in _classes(field.annotation):
            inner = f"{title.split(']')[0].strip('[')}.{name}".lstrip(".")
            inner = f"{inner}.NAME" if is_named else inner
            tag = next((f'{key} = "{_literal(found, key)}"' for key in ("kind", "reader") if _literal(found, key)), "")
            label = f"[[{inner}]]" if is_list else f"[{inner}]"
            yield from nested(found, f"{label} {tag}".strip() if tag else label)


def unexplained(kind: type[Settings]) -> list[str]:
    """Keys of the class that its docstring does not explain, but for sections, which explain themselves."""
    known = meanings(kind)
    return [
        name
        for name, field in kind.model_fields.items()
        if name not in known and not list(_classes(field.annotation)) and not _literal(kind, name)
    ]


def type_of(annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> str:
    """A type in words: `"a"` or `"b"`, list of text, number ≥ 0."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_of(arguments[0], [*arguments[1:], *metadata])
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_of(one) for one in arguments if one is not type(None))) + _bounds(
            metadata
        )
    if origin in (list, tuple):
        inner = [type_of(one) for one in arguments if one is not Ellipsis]
        return f"list of {inner[0]}" if origin is list or ... in get_args(annotation) else f"{len(inner)} x {inner[0]}"
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return f"table of {type_of(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return "section"
    return PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation))) + _bounds(metadata)


def default_of(field: FieldInfo) -> str:
    """The default as TOML writes it."""
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={}) if field.default_factory else field.default
    if value is PydanticUndefined or value is None:
        return "not set"
    return "its defaults" if isinstance(value, Settings) else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def _bounds(metadata: Any) -> str:
    found = [
        f"{sign} {value:g}" if isinstance(value, float) else f"{sign} {value}"
        for item in metadata
        for name, sign in BOUNDS.items()
        if isinstance(value := getattr(item, name, None), (int, float))
    ]
    return f", {', '.join(found)}" if found else ""


def _classes(annotation: Any, is_list: bool = False, is_named: bool = False) -> Iterator[tuple[Any, bool, bool]]:
    """Settings classes inside an annotation; whether it is a list of tables, or a table of named ones."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation, is_list, is_named
    for one in () if origin is Literal else get_args(annotation):
        named = origin is not None and isinstance(origin, type) and issubclass(origin, Mapping)
        yield from _classes(one, is_list or origin is list, is_named or named)


def _literal(kind: type[Settings], name: str) -> str:
    field = kind.model_fields.get(name)
    values = get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()
    return str(values[0]) if len(values) == 1 else ""


def _pointer(kind: type[Settings], name: str) -> str:
    """What a key is that needs no meaning: it holds a section, or it selects the class itself."""
    if any(_classes(kind.model_fields[name].annotation)):
        return "a section, below"
    return "selects this section" if _literal(kind, name) else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
