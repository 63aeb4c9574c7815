"""The page in a real browser: every plot is drawn, nothing is fetched, nothing sticks out, in both themes and widths.

Needs Chromium, on the PATH or named by $MMKD_CHROMIUM.
"""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from report_world import CONTEXT, write_world

from mmkd.report.pages import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NOWHERE = "127.0.0.1:9"  # a proxy that refuses: a page that fetches anything would not be whole
TALL = 3000
PAPER = {"light": (255, 255, 255), "dark": (18, 24, 31)}
# the page inside a frame of the wished width (windows of a headless browser are never narrower than 500 px); the frame
# writes what it measures into the outer document
FRAME = """<!doctype html><body style="margin:0"><iframe id="page" src="{page}#{theme}"
style="border:0;width:{width}px;height:{height}px"></iframe><pre id="found"></pre>
<script>onload = () => setTimeout(() => {{
  const inside = document.getElementById("page").contentDocument;
  const plots = [...inside.querySelectorAll(".plotly-graph-div")];
  const open = plots.filter(plot => !plot.closest("details"));
  const wide = [...inside.querySelectorAll("main *")].filter(node =>
    node.getBoundingClientRect().right > {width} + 1 && !node.closest(".scroll, svg, details, .plotly-graph-div"));
  document.getElementById("found").textContent = JSON.stringify({{
    plots: plots.length,
    drawn: plots.filter(plot => plot.querySelector("svg.main-svg")).length,
    empty: open.filter(plot => plot.getBoundingClientRect().height < 50).length,
    wide: wide.map(node => node.outerHTML.slice(0, 80)),
    scrolls: inside.documentElement.scrollWidth > {width},
    paper: inside.defaultView.getComputedStyle(inside.body).backgroundColor,
    requests: inside.defaultView.performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
  }});
}}, 1500)</script></body>"""


def chromium() -> str:
    named = os.environ.get("MMKD_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on the PATH; install it (Debian: chromium) or set MMKD_CHROMIUM to its path")
    return found


def run_chromium(profile: Path, *arguments: str) -> str:
    command = [
        chromium(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
    ]
    command += ["--allow-file-access-from-files", f"--proxy-server={NOWHERE}", "--virtual-time-budget=8000"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=180, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chromium()
    folder = tmp_path_factory.mktemp("browser")
    write_report(write_world(folder / "evaluate"), folder / "report", CONTEXT)
    return folder / "report" / "index.html"


def framed(report: Path, width: int, theme: str) -> Path:
    path = report.with_name(f"frame-{width}-{theme}.html")
    path.write_text(FRAME.format(page=report.as_uri(), theme=theme, width=width, height=TALL))
    return path


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_drawn_and_fits(report: Path, tmp_path: Path, width: int, theme: str) -> None:
    frame = framed(report, width, theme)
    dom = run_chromium(tmp_path / "profile", f"--window-size=1400,{TALL}", "--dump-dom", frame.as_uri())
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)[1]))
    assert found["plots"] > 40
    assert found["drawn"] == found["plots"]
    assert found["empty"] == 0
    assert found["wide"] == []
    assert not found["scrolls"]
    assert found["paper"] == f"rgb{PAPER[theme]}"
    assert found["requests"] == []


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_the_page_can_be_seen(report: Path, tmp_path: Path, width: int, theme: str) -> None:
    shot, frame = tmp_path / "shot.png", framed(report, width, theme)
    run_chromium(tmp_path / "profile", f"--window-size=1400,{TALL}", f"--screenshot={shot}", frame.as_uri())
    with Image.open(shot) as image:
        pixels = image.convert("RGB").crop((0, 0, width, TALL))
    assert pixels.getpixel((2, 2)) == PAPER[theme]
    colours = pixels.getcolors(maxcolors=width * TALL)
    assert len(colours) > 200  # text and plots, not an empty page


def test_the_page_follows_the_readers_colour_scheme(report: Path, tmp_path: Path) -> None:
    shot = tmp_path / "dark.png"
    run_chromium(
        tmp_path / "profile", "--window-size=800,600", "--blink-settings=preferredColorScheme=0",
        f"--screenshot={shot}", report.as_uri(),
    )  # fmt: skip
    with Image.open(shot) as image:
        assert image.convert("RGB").getpixel((2, 2)) == PAPER["dark"]
