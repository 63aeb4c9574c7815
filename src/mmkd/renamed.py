"""Keys of recipes and cards that had another name in the last release: read for one more, with a line that says so."""

from collections.abc import Callable, Mapping
from typing import Any

RENAMED: dict[tuple[str, str], str] = {
    ("duplicates", "likeness"): "correlation",
    ("curate", "decontaminate_likeness"): "decontaminate_correlation",
    ("sources", "only"): "include",
    ("layout", "only"): "include",
}
"""(table, old key) -> new key. The table is the name of the innermost table or list of tables, "" for the top level."""


def with_new_names(data: Any, table: str = "", tell: Callable[[str], None] | None = None) -> Any:
    """The same tables with today's keys. tell: gets a sentence for every old key that was found.

    A key that stands there under both names is left as it is, so that the recipe's own check refuses it.
    """
    if isinstance(data, list):
        return [with_new_names(one, table, tell) for one in data]
    if not isinstance(data, Mapping):
        return data
    found: dict[str, Any] = {}
    for key, value in data.items():
        new = RENAMED.get((table, str(key)), str(key))
        if new in data:
            new = str(key)
        if new != key and tell is not None:
            tell(f"{f'[{table}] ' if table else ''}{key} is now called {new}; the old name goes with the next release")
        found[new] = with_new_names(value, new, tell)
    return found
