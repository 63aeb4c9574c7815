"""Keys of recipes and cards with another name in the last release: read for one more, with a line that says so."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

RENAMED: dict[tuple[str, str], str] = {
    ("", "calibrate"): "reliability",
    ("curate", "decontaminate_likeness"): "decontaminate_correlation",
    ("curate", "keep_parts"): "cache_shards",
    ("distill", "caption_trust"): "caption_posterior",
    ("duplicates", "likeness"): "correlation",
    ("evidence", "alike"): "near_duplicates",
    ("inputs", "calibration"): "reliability",
    ("layout", "only"): "include",
    ("sources", "only"): "include",
}
"""(table, old key) -> new key. The table is the name of the innermost table or list of tables, "" for the top level.

"inputs" are those of a manifest: names of folders.
"""

TABLE_OF = {"rivals": "distill"}
"""The tables in `[rivals]` have names of their own and the keys of `[distill]`."""


def warn(line: str) -> None:
    """A line beside the output, which may be JSON."""
    print(line, file=sys.stderr, flush=True)


def with_new_names(data: Any, table: str = "", say: Callable[[str], None] | None = None) -> Any:
    """The same tables with today's keys. say: gets a sentence for every old key that was found.

    A key that stands there under both names is left as it is, so that the recipe's own check refuses it.
    """
    if isinstance(data, list):
        return [with_new_names(one, table, say) for one in data]
    if not isinstance(data, Mapping):
        return data
    found: dict[str, Any] = {}
    for key, value in data.items():
        new = RENAMED.get((table, str(key)), str(key))
        if new in data:
            new = str(key)
        if new != key and say is not None:
            say(f"{f'[{table}] ' if table else ''}{key} is now called {new}; the next release knows the new name only")
        found[new] = with_new_names(value, TABLE_OF.get(table, new), say)
    return found


def key_with_new_names(parts: list[str], say: Callable[[str], None] | None = None) -> list[str]:
    """A dotted key in its parts, `["calibrate", "by"]` -> `["reliability", "by"]`."""
    nested: Any = None
    for part in reversed(parts):
        nested = {part: nested}
    nested, found = with_new_names(nested, say=say), []
    for _ in parts:
        ((part, nested),) = nested.items()
        found.append(part)
    return found
