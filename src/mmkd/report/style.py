"""The style sheet of the page and the few lines of script that draw its figures, in light or dark."""

import json

from mmkd.report import theme

NAMES = {
    "ink": theme.INK,
    "muted": theme.MUTED,
    "line": theme.GRID,
    "paper": theme.PAPER,
    "faint": theme.FAINT,
    "ours": theme.OURS,
    "ahead": theme.AHEAD,
    "behind": theme.BEHIND,
}
LIGHT_VARIABLES = " ".join(f"--{name}: {colour};" for name, colour in NAMES.items())
DARK_VARIABLES = " ".join(f"--{name}: {theme.DARK[colour]};" for name, colour in NAMES.items())

RULES = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: break-word;
  font: 16px/1.55 Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 96px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 22px; line-height: 1.25; margin: 60px 0 6px; padding-top: 22px; border-top: 1px solid var(--line); }
h3 { font-size: 16.5px; line-height: 1.35; margin: 34px 0 6px; }
h4 { font-size: 14.5px; margin: 18px 0 4px; color: var(--muted); font-weight: 600; }
p { max-width: 46em; margin: 6px 0 14px; }
a { color: var(--ours); text-underline-offset: 2px; }
.muted, figcaption, summary { color: var(--muted); font-size: 14px; }
ul { max-width: 48em; padding-left: 1.2em; margin: 10px 0 18px; } li { margin: 3px 0; }
.lead { font-size: 18px; line-height: 1.5; margin: 18px 0; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 18px 0 8px; font-size: 14px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 290px), 1fr)); gap: 14px;
  margin: 24px 0 8px; }
.tile { border: 1px solid var(--line); border-radius: 10px; padding: 14px 18px 16px; background: var(--faint); }
.tile .name { font-size: 14px; color: var(--muted); }
.tile .value { font-size: 30px; font-weight: 600; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tile.ours .value { color: var(--ours); }
.tile .more { font-size: 13.5px; color: var(--muted); font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
figure { margin: 10px 0 22px; }
figcaption { max-width: 50em; margin: 0 0 6px; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); gap: 8px 28px; }
.grid > figure { min-width: 0; }
.scroll { overflow-x: auto; margin: 8px 0 18px; }
.scroll:focus-visible { outline: 2px solid var(--ours); }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; white-space: nowrap; }
.caption { margin: 18px 0 0; } .caption + .scroll { margin-top: 0; }
th, td { padding: 6px 14px 6px 0; text-align: right; border-bottom: 1px solid var(--line); }
th { font-weight: 500; color: var(--muted); vertical-align: bottom; }
thead th { overflow-wrap: anywhere; }
tbody th { color: var(--ink); font-weight: 400; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
table.text th, table.text td { text-align: left; }
table.text td { white-space: normal; vertical-align: top; max-width: 30em; }
table.text td a { overflow-wrap: anywhere; display: inline-block; min-width: 11em; }
table.text th:first-child { min-width: 7em; white-space: normal; vertical-align: top; }
td.best { font-weight: 650; }
tr.ours th, tr.ours td { background: var(--faint); color: var(--ours); }
tr.null th, tr.null td { color: var(--muted); font-style: italic; }
tr.null th:first-child::after { content: " (null)"; }
tbody th { vertical-align: baseline; } td { vertical-align: baseline; }
tr.group th { padding-top: 16px; font-weight: 650; }
tr.group span { position: sticky; left: 0; display: inline-block; white-space: normal; max-width: calc(100vw - 36px); }
td.ahead { color: var(--ahead); } td.behind { color: var(--behind); }
td.ahead, td.behind { font-weight: 600; }
td small { display: block; font-weight: 400; font-size: 11.5px; color: var(--muted); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 16px;
  margin: 10px 0 20px; }
.pictures figure { margin: 0; font-size: 13px; line-height: 1.4; overflow-wrap: anywhere; }
.pictures img, .query img { width: 100%; height: 150px; object-fit: contain; background: #000; border-radius: 6px;
  display: block; }
.pictures figcaption { font-size: 13px; margin-top: 5px; }
.query { border-top: 1px solid var(--line); padding: 10px 0; display: grid; gap: 6px 18px;
  grid-template-columns: minmax(120px, 150px) 1fr; font-size: 14px; }
.query .pictures { grid-template-columns: repeat(auto-fill, minmax(110px, 1fr)); margin: 4px 0; }
.query img { height: 110px; }
.query ol { margin: 4px 0; padding-left: 1.4em; }
.query p { margin: 0 0 4px; overflow-wrap: anywhere; }
.right { color: var(--ahead); } .wrong { color: var(--behind); }
img.wide { max-width: 100%; height: auto; border-radius: 6px; }
details { margin: 8px 0 14px; } details p { font-size: 14px; color: var(--muted); overflow-wrap: anywhere; }
summary { cursor: pointer; }
@media (max-width: 600px) {
  main { padding: 24px 16px 64px; }
  h1 { font-size: 25px; } h2 { font-size: 20px; margin-top: 44px; } .lead { font-size: 16.5px; }
  table { font-size: 13px; } th, td { padding-right: 11px; }
  .tiles { grid-template-columns: 1fr; } .tile { padding: 10px 14px 12px; } .tile .value { font-size: 25px; }
  th:first-child, td:first-child { max-width: 38vw; overflow: hidden; text-overflow: ellipsis; }
  tr.group th:first-child { max-width: none; overflow: visible; } tr.null th:first-child::after { content: none; }
  .pictures { grid-template-columns: repeat(2, minmax(0, 1fr)); } .pictures img { height: 130px; }
  .query { grid-template-columns: minmax(0, 1fr); } .query > div:first-child img { width: 150px; }
}
@media print {
  main { max-width: none; padding: 0; } nav { display: none; }
  figure, .tile, .query, tr, img { break-inside: avoid; } h2, h3, h4 { break-after: avoid; }
  .scroll { overflow: visible; } table { font-size: 8.5pt; white-space: normal; }
  th:first-child, td:first-child { position: static; }
}
"""

STYLE = (
    f":root {{ color-scheme: light; {LIGHT_VARIABLES} }}\n"
    f"@media screen and (prefers-color-scheme: dark) {{\n"
    f":root:not([data-theme=light]) {{ color-scheme: dark; {DARK_VARIABLES} }} }}\n"
    f"@media screen {{ :root[data-theme=dark] {{ color-scheme: dark; {DARK_VARIABLES} }} }}\n{RULES}"
)

# every figure is drawn in the colours of the page, again when these change, and on paper in the light ones
SCRIPT = """
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const asked = () => ["dark", "light"].find(name => location.hash === "#" + name);
  const isDark = () => !printing && (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const draw = () => document.querySelectorAll("script[data-figure]").forEach(source => {
    const text = source.textContent;
    const told = isDark() ? text.replace(/#[0-9a-f]{6}/g, colour => DARK[colour] || colour) : text;
    const figure = JSON.parse(told);
    if (innerWidth <= 600) narrow(figure.layout);
    Plotly.react(source.dataset.figure, figure.data, figure.layout, {displayModeBar: false, responsive: true});
  });
  const narrow = layout => {
    layout.font.size = 11;
    if (layout.legend) layout.legend.font = {size: 11};
    Object.assign(layout, (layout.meta || {}).narrow);
  };
  const theme = () => { if (asked()) root.dataset.theme = asked(); draw(); };
  addEventListener("hashchange", () => { if (asked()) theme(); });
  system.addEventListener("change", draw);
  document.querySelectorAll("details").forEach(fold => fold.addEventListener("toggle", () =>
    fold.querySelectorAll(".plotly-graph-div").forEach(plot => fold.open && Plotly.Plots.resize(plot))));
  addEventListener("beforeprint", () => { printing = true; draw(); });
  addEventListener("afterprint", () => { printing = false; draw(); });
  theme();
})();
"""
DRAW = f"(() => {{\n  const DARK = {json.dumps(theme.DARK)};{SCRIPT}"
