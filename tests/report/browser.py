"""Pages in a real browser, and what they look like there. Needs Chromium, on the PATH or named by $MMKD_CHROMIUM."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NOWHERE = "127.0.0.1:9"  # a proxy that refuses: a page that fetches anything would not be whole
TALL = 3000
PAPER = {"light": (255, 255, 255), "dark": (18, 24, 31)}
SCHEMES = {"dark": 0, "light": 1}  # what a reader prefers, as Chromium counts
# the page inside a frame of the wished width (windows of a headless browser are never narrower than 500 px); the frame
# writes what it measures into the outer document
FRAME = """<!doctype html><body style="margin:0"><iframe id="page" src="{page}"
style="border:0;width:{width}px;height:{height}px"></iframe><pre id="found"></pre>
<script>onload = () => setTimeout(() => {{
  const inside = document.getElementById("page").contentDocument;
  const plots = [...inside.querySelectorAll("figure.plot svg[role=img]")];
  const open = plots.filter(plot => !plot.closest("details"));
  const sized = node => node.getBoundingClientRect().width + node.getBoundingClientRect().height > 0;
  const sticksOut = box => box.right > {width} + 1 || box.left < -1;
  const wide = [...inside.querySelectorAll("body *")].filter(node =>
    sized(node) && sticksOut(node.getBoundingClientRect()) && !node.closest(".scroll, details, .shapes"));
  document.getElementById("found").textContent = JSON.stringify({{
    plots: plots.length,
    drawn: plots.filter(plot => !open.includes(plot) ||
      [...plot.querySelectorAll("use, path, rect")].some(sized)).length,
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


def run_chromium(profile: Path, theme: str, *arguments: str) -> str:
    command = [
        chromium(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        f"--blink-settings=preferredColorScheme={SCHEMES[theme]}",
    ]
    command += ["--allow-file-access-from-files", f"--proxy-server={NOWHERE}", "--virtual-time-budget=8000"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=180, check=True)
    return done.stdout


def framed(page: Path, width: int) -> Path:
    path = page.with_name(f"frame-{width}.html")
    path.write_text(FRAME.format(page=page.as_uri(), width=width, height=TALL))
    return path


def measured(page: Path, profile: Path, width: int, theme: str) -> dict[str, Any]:
    """What FRAME finds."""
    frame = framed(page, width)
    dom = run_chromium(profile, theme, f"--window-size=1400,{TALL}", "--dump-dom", frame.as_uri())
    found: dict[str, Any] = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)[1]))
    return found


def problems(found: dict[str, Any], theme: str) -> dict[str, Any]:
    """What of `measured` is not as it should be: plots not drawn, things that stick out or are fetched, colours."""
    wanted = {
        "drawn": found["plots"],
        "empty": 0,
        "wide": [],
        "scrolls": False,
        "paper": f"rgb{PAPER[theme]}",
        "requests": [],
    }
    return {name: found[name] for name, value in wanted.items() if found[name] != value}
