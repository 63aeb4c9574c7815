"""Templates to pages. Jinja2 escapes every piece of data; pages hold no script, and their policy forbids any."""

import base64
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmkd.evaluation.format.numbers import MISSING
from mmkd.folders.atomic import atomic_file
from mmkd.report.plot import COLOURS
from mmkd.report.view import Section, Tile

ELLIPSIS = "…"


def render(template: str, **view: Any) -> str:
    return environment().get_template(template).render(view)


def sectioned(parts: str, title: str, about: str, tiles: Sequence[Tile], sections: Sequence[Section]) -> str:
    """A page of sections with links to them; a section without anything to show is left out.

    parts: the template that holds the sections' macros. about: what the page is, below its title.
    """
    present = [section for section in sections if section.view]
    return render("sections.html", parts_file=parts, title=title, about=about, tiles=tiles, sections=present)


def write_page(path: Path, page: str) -> None:
    with atomic_file(path) as stream:
        stream.write(page.encode())


def share(part: int, whole: int) -> str:
    """In percent; nothing of nothing is a dash."""
    return f"{part / whole:.1%}" if whole else MISSING


def count(number: int) -> str:
    return f"{number:,}"


def counted(number: int, what: str) -> str:
    """ "1 task", "2 tasks"."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def count_or_dash(number: int) -> str:
    return f"{number:,}" if number else MISSING


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}{ELLIPSIS}"


def plain(name: str) -> str:
    return name.replace("_", " ")


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def data_address(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def is_web_address(text: str) -> bool:
    """Whether text may be a link: anything else could run a script, or is no address."""
    return text.startswith(("https://", "http://")) and " " not in text


@cache
def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("mmkd.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"count": count, "cut": cut, "plain": plain, "sentence": sentence, "data_address": data_address}
    made.tests["web_address"] = is_web_address
    made.globals |= {"colours": COLOURS, "share": share}
    return made
