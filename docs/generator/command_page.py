"""The reference page of all commands with their arguments and options."""

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from mmkd.cli import app

EVERYWHERE = ("verbose", "quiet")
HEAD = """# Commands

`mmkd COMMAND --help` prints the same, `mmkd --version` the version. Exit codes: 0 done, 2 something that you can
correct (the message says what), 1 a defect of mmkd.

Every command also takes these options:

| option | meaning |
|---|---|
| `-v, --verbose` | Also all warnings of libraries, and the traceback of an error. |
| `-q, --quiet` | Print errors and results only, no progress. |

A RECIPE is a TOML file, or a recipe that comes with mmkd, by name: `mmkd run demo` works in any folder.
"""


def command_page() -> str:
    """A section for each command, in the order of `mmkd --help`."""
    return "\n".join([HEAD, *_commands(typer.main.get_command(app), "mmkd")])


def _commands(group: Any, prefix: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        title = f"{prefix} {name}"
        if hasattr(command, "commands"):
            yield from _commands(command, title)
        else:
            yield _section(title, command)


def _section(title: str, command: Any) -> str:
    shown = [one for one in command.params if not getattr(one, "hidden", False) and one.name not in EVERYWHERE]
    arguments = " ".join(_metavar(one) for one in shown if one.param_type_name == "argument")
    rows = [f"| {_names(one)} | {_cell(getattr(one, 'help', '') or '')}{_default(one)} |" for one in shown]
    usage = f"{title} [OPTIONS] {arguments}".rstrip()
    table = ["| option | meaning |", "|---|---|", *rows, ""] if rows else []
    return "\n".join([f"## {title}", "", inspect.cleandoc(command.help or ""), "", f"    {usage}", "", *table])


def _metavar(one: Any) -> str:
    return str(getattr(one, "metavar", None) or one.opts[0].lstrip("-").replace("-", "_").upper())


def _names(one: Any) -> str:
    if one.param_type_name == "argument":
        return f"`{_cell(_metavar(one))}`"
    kind = "" if one.is_flag else f" {_cell(_metavar(one))}"
    return f"`{', '.join([*one.opts, *one.secondary_opts])}{kind}`"


def _default(one: Any) -> str:
    shown = getattr(one, "default", None)
    if shown in (None, False, "", []) or "[default" in (getattr(one, "help", "") or ""):
        return " Required." if one.required else ""
    return f" Default: `{shown}`."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
