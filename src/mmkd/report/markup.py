"""The HTML that pages are made of. Every piece of data is escaped here and nowhere else."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from mmkd.report.style import DRAW, STYLE


@dataclass(frozen=True)
class Cell:
    """What stands in a table's cell. kind: a class of the style sheet. small: a second line. link: the text may be a
    web address."""

    text: str
    kind: str = ""
    small: str = ""
    title: str = ""
    link: bool = False


def page(title: str, body: Sequence[str]) -> str:
    """A whole document: style, plotly.js where there are figures, and data are inside, nothing is fetched."""
    drawn = any('class="plotly-graph-div"' in part for part in body)
    plotly = f"<script>{get_plotlyjs()}</script>\n" if drawn else ""
    told = "\n<noscript><p>The figures need JavaScript; all their numbers stand in the tables.</p></noscript>"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<style>{STYLE}</style>\n{plotly}</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + (told if drawn else "")
        + f"\n</main>\n<script>{DRAW}</script>\n</body>\n</html>\n"
    )


def sectioned_page(title: str, told: str, top: Sequence[str], sections: Mapping[str, tuple[str, Iterable[str]]]) -> str:
    """A page of sections with links to them. sections: anchor -> title and markup; what has no markup is left out.

    told: what the page is, below its title. top: markup before the first section.
    """
    made = {anchor: (name, list(parts)) for anchor, (name, parts) in sections.items()}
    present = {anchor: both for anchor, both in made.items() if both[1]}
    return page(
        title,
        [
            heading(1, title),
            paragraph(told, kind="muted"),
            contents({anchor: name for anchor, (name, _) in present.items()}),
            *top,
            *(part for anchor, (name, parts) in present.items() for part in (heading(2, name, anchor), *parts)),
        ],
    )


def heading(level: int, text: str, anchor: str = "") -> str:
    """anchor: what `contents` links to."""
    return f"<h{level}{_attribute('id', anchor)}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """kind: "muted" or "lead"."""
    return f"<p{_attribute('class', kind)}>{escape(text)}</p>"


def folded(title: str, inside: Sequence[str]) -> str:
    """Something that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>{''.join(inside)}</details>"


def contents(sections: Mapping[str, str]) -> str:
    """Links to the sections. sections: anchor -> title."""
    links = "".join(f'<a href="#{escape(anchor)}">{escape(title)}</a>' for anchor, title in sections.items())
    return f'<nav aria-label="Contents">{links}</nav>'


def figure(name: str, drawn: go.Figure, says: str) -> str:
    """The figure in a `div` with the id `name`: a fixed one, so that equal results make equal pages.

    says: what it shows, as its caption and for who cannot see it.
    """
    data = str(drawn.to_json(pretty=False, engine="json")).replace("<", "\\u003c")
    height = int(drawn.layout.height)
    return (
        f"<figure><figcaption>{escape(sentence(says))}</figcaption>"
        f'<div id="{escape(name)}" class="plotly-graph-div" role="img" aria-label="{escape(says)}" '
        f'style="height:{height}px"></div>'
        f'<script type="application/json" data-figure="{escape(name)}">{data}</script></figure>'
    )


def grid(members: Sequence[str]) -> str:
    """Figures side by side where there is room."""
    return f'<div class="grid">{"".join(members)}</div>'


def items(texts: Sequence[str]) -> str:
    """A list with dots."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def tile(name: str, value: str, more: Sequence[str], ours: bool = False) -> str:
    """A large number with its name above and lines of small print below."""
    parts = [("name", name), ("value", value), *(("more", line) for line in more)]
    inside = "".join(f'<div class="{kind}">{escape(text)}</div>' for kind, text in parts)
    return f'<div class="tile{" ours" if ours else ""}">{inside}</div>'


def tiles(members: Sequence[str]) -> str:
    return f'<div class="tiles">{"".join(members)}</div>'


@dataclass(frozen=True)
class Line:
    """A row of a table, its name first. kind: "ours", "null" or "group" (a heading inside the table)."""

    name: str
    cells: Sequence[Cell]
    kind: str = ""


def table(columns: Sequence[str], lines: Sequence[Line], caption: str = "", text: bool = False) -> str:
    """columns: heads, the one of the names first. text: cells are sentences, not numbers."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "\n".join(_line(line, len(columns)) for line in lines)
    told = paragraph(sentence(caption), kind="muted caption") if caption else ""
    return (  # the caption stands outside: it must not scroll with the table, nor be as narrow as it
        f'{told}<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption or "table")}">'
        f"<table{_attribute('class', 'text' if text else '')}><thead><tr>{head}</tr></thead>\n"
        f"<tbody>{body}</tbody></table></div>"
    )


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A table of sentences; the first cell of a row names it."""
    return table(columns, [Line(row[0], [Cell(cell) for cell in row[1:]]) for row in rows], caption, text=True)


def link(address: str) -> str:
    """A link that leads out when it is clicked; plain text where the address is no web address."""
    if not address.startswith(("https://", "http://")) or " " in address:
        return escape(address)
    shown = address.split("://", 1)[1].removesuffix("/")
    return f'<a href="{escape(address)}" rel="noreferrer">{escape(shown)}</a>'


def picture(jpeg: bytes, says: str, kind: str = "") -> str:
    """An image inside the page. says: what it shows."""
    data = base64.b64encode(jpeg).decode()
    return f'<img{_attribute("class", kind)} alt="{escape(says)}" src="data:image/jpeg;base64,{data}">'


def captioned(jpeg: bytes | None, says: str, lines: Sequence[tuple[str, str]]) -> str:
    """A picture with lines below it. lines: text and class ("right", "wrong" or none)."""
    shown = picture(jpeg, says) if jpeg else ""
    below = "<br>".join(marked(text, kind) for text, kind in lines)
    return f"<figure>{shown}<figcaption>{below}</figcaption></figure>"


def marked(text: str, kind: str) -> str:
    """kind: "right" and "wrong" get a sign besides their colour."""
    sign = {"right": "✓ ", "wrong": "✗ "}.get(kind, "")
    return f"<span{_attribute('class', kind)}>{sign}{escape(text)}</span>"


def pictures(members: Sequence[str]) -> str:
    return f'<div class="pictures">{"".join(members)}</div>'


def ordered(items: Sequence[str]) -> str:
    """A numbered list. items: markup."""
    return f"<ol>{''.join(f'<li>{item}</li>' for item in items)}</ol>"


def query(asked: str, found: Sequence[str]) -> str:
    """A query beside what it found."""
    return f'<div class="query"><div>{asked}</div><div>{"".join(found)}</div></div>'


def sentence(text: str) -> str:
    """With a capital letter in front."""
    return text[:1].upper() + text[1:]


def _line(line: Line, columns: int) -> str:
    kind = _attribute("class", line.kind)
    if line.kind == "group":
        return f'<tr{kind}><th scope="rowgroup" colspan="{columns}"><span>{escape(line.name)}</span></th></tr>'
    return f'<tr{kind}><th scope="row">{escape(line.name)}</th>{"".join(_cell(cell) for cell in line.cells)}</tr>'


def _cell(cell: Cell) -> str:
    small = f"<small>{escape(cell.small)}</small>" if cell.small else ""
    text = link(cell.text) if cell.link else escape(cell.text)
    return f"<td{_attribute('class', cell.kind)}{_attribute('title', cell.title)}>{text}{small}</td>"


def _attribute(name: str, value: str) -> str:
    return f' {name}="{escape(value)}"' if value else ""
