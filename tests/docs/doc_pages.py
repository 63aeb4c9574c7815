"""What the documentation holds: its pages, their fenced blocks and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from mmkd.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"(?:<!-- not run: (?P<reason>[^>]+) -->\n)?```(?P<language>\w*)[^\n]*\n(?P<text>.*?)```", re.DOTALL)
INLINE = re.compile(r"`(mmkd [a-z][^`\n]*)`")
COMMENT = re.compile(r"\s+#\s.*$")


@dataclass(frozen=True)
class Block:
    """A fenced block. reason: why its commands are not run, "" where they are."""

    page: Path
    language: str
    text: str
    reason: str

    @property
    def lines(self) -> list[str]:
        """Its commands, without comments."""
        return [line for line in (COMMENT.sub("", line).strip() for line in self.text.splitlines()) if line]


def blocks(*languages: str) -> Iterator[Block]:
    """All fenced blocks of these languages, page by page."""
    for page in PAGES:
        for found in FENCE.finditer(page.read_text()):
            if found["language"] in languages:
                yield Block(page, found["language"], found["text"], (found["reason"] or "").strip())


def inline_commands(page: Path) -> list[str]:
    """`mmkd ...` in running text and tables."""
    return INLINE.findall(FENCE.sub("", page.read_text()))


def arguments_of(line: str) -> list[str] | None:
    """What follows `mmkd` in a command line, also behind torchrun or in a loop; None for other programs."""
    words = shlex.split(line.replace("; do ", " ").replace("; done", ""))
    return words[words.index("mmkd") + 1 :] if "mmkd" in words else None


def complaint(arguments: list[str]) -> str:
    """What `--help` of the command does not know of these words, or "". Names in capitals stand for anything."""
    command: Any = typer.main.get_command(app)
    rest = list(arguments)
    while rest and hasattr(command, "commands"):
        name = rest.pop(0)
        if name == "COMMAND" or name.startswith("-"):
            return ""
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
        if rest[:1] == ["|"]:  # `mmkd datasets list | check`
            return ""
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
    given = {word.split("=")[0] for word in rest if re.match(r"-{1,2}[a-z]", word)}
    return f"unknown options {sorted(given - known)}" if given - known else ""
