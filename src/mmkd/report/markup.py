"""The HTML that pages are made of. Every piece of data is escaped here and nowhere else."""

from collections.abc import Container, Mapping, Sequence
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

STYLE = """
:root { --ink: #1f2933; --muted: #616e7c; --line: #e4e7eb; --ours: #0f766e; --soft: #f0f7f6; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 16px/1.55 Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 48px 24px 96px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 21px; margin: 56px 0 6px; padding-top: 20px; border-top: 1px solid var(--line); }
h3 { font-size: 16px; margin: 30px 0 6px; }
p { max-width: 46em; margin: 6px 0 14px; }
.muted { color: var(--muted); font-size: 14px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 14px; margin: 28px 0 8px; }
.tile { border: 1px solid var(--line); border-radius: 10px; padding: 14px 18px 16px; }
.tile.ours { background: var(--soft); border-color: #b8dcd8; }
.tile .name { font-size: 14px; color: var(--muted); }
.tile .value { font-size: 30px; font-weight: 600; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tile.ours .value { color: var(--ours); }
.tile .more { font-size: 13.5px; color: var(--muted); font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: 8px 0 18px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: 6px 14px 6px 0; text-align: right; border-bottom: 1px solid var(--line); }
th { font-weight: 500; color: var(--muted); vertical-align: bottom; }
th:first-child, td:first-child, table.text th, table.text td { text-align: left; }
table.text td { white-space: normal; vertical-align: top; }
td.best { font-weight: 650; }
tr.ours td { background: var(--soft); color: var(--ours); }
"""


def page(title: str, body: Sequence[str]) -> str:
    """A whole document: style and plotly.js are inside, nothing is fetched."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n<script>{get_plotlyjs()}</script>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def heading(level: int, text: str) -> str:
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, muted: bool = False) -> str:
    return f"<p{' class=muted' if muted else ''}>{escape(text)}</p>"


def figure(name: str, drawn: go.Figure) -> str:
    """The figure as a `div` with the id `name`: a fixed one, so that equal results make equal pages."""
    config = {"displayModeBar": False, "responsive": True}
    return str(drawn.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config))


def tile(name: str, value: str, more: Sequence[str], ours: bool = False) -> str:
    """A large number with its name above and lines of small print below."""
    parts = [("name", name), ("value", value), *(("more", line) for line in more)]
    inside = "".join(f'<div class="{kind}">{escape(text)}</div>' for kind, text in parts)
    return f'<div class="tile{" ours" if ours else ""}">{inside}</div>'


def tiles(members: Sequence[str]) -> str:
    return f'<div class="tiles">{"".join(members)}</div>'


def number_table(
    columns: Sequence[str], rows: Mapping[str, Sequence[float | None]], ours: str, lower: Container[str] = ()
) -> str:
    """Shares as percentages, a row per name; the best of each column is bold, the row `ours` is tinted.

    lower: columns in which the lowest is best.
    """
    best = []
    for name, column in zip(columns, zip(*rows.values(), strict=True), strict=True):
        found = [value for value in column if value is not None]
        best.append(min(found) if name in lower else max(found))
    lines = []
    for name, values in rows.items():
        cells = "".join(_number(value, value == top) for value, top in zip(values, best, strict=True))
        lines.append(f"<tr{' class=ours' if name == ours else ''}><td>{escape(name)}</td>{cells}</tr>")
    return _table("", ["", *columns], lines)


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return _table(" class=text", columns, lines)


def _number(value: float | None, is_best: bool) -> str:
    if value is None:
        return "<td></td>"
    return f"<td{' class=best' if is_best else ''}>{100 * value:.1f}</td>"


def _table(kind: str, columns: Sequence[str], lines: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "\n".join(lines)
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'
