"""`${NAME}` and `${NAME:-default}` in the strings of a TOML file."""

import re
from collections.abc import Mapping
from typing import Any

from mmkd.errors import ConfigError

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


def expand(value: Any, variables: Mapping[str, str]) -> Any:
    """The value with the variables of every string in it replaced; tables and lists are followed, keys stay.

    As in a shell, the default of `${NAME:-default}` also stands in for an empty variable; `$` alone means itself.
    Raises ConfigError for a variable that is neither set nor has a default, and for a `${` that opens no variable.
    """
    if isinstance(value, str):
        return _expand_text(value, variables)
    if isinstance(value, Mapping):
        return {key: expand(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, variables) for item in value]
    return value


def _expand_text(text: str, variables: Mapping[str, str]) -> str:
    pieces, end = [], 0
    for match in _VARIABLE.finditer(text):
        pieces += [_literal(text[end : match.start()], text), _value_of(match, text, variables)]
        end = match.end()
    return "".join([*pieces, _literal(text[end:], text)])


def _literal(piece: str, text: str) -> str:
    if "${" in piece:
        raise ConfigError(f"{text!r}: a '${{' does not open a variable; write ${{NAME}} or ${{NAME:-default}}")
    return piece


def _value_of(match: re.Match[str], text: str, variables: Mapping[str, str]) -> str:
    name, default = match["name"], match["default"]
    if default is not None:
        return variables.get(name) or default
    if name not in variables:
        raise ConfigError(
            f"{text!r}: the variable {name} is not set; set it in the environment, of cards in a recipe's [evaluate] "
            f"variables (--recipe RECIPE), or write ${{{name}:-default}}"
        )
    return variables[name]
