"""The report in a real browser: every plot is drawn, nothing is fetched or sticks out, in both themes and widths."""

from pathlib import Path

import pytest
from browser import PAPER, TALL, chromium, framed, measured, problems, run_chromium
from PIL import Image
from report_world import CONTEXT, write_world

from mmkd.report.pages import write_report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chromium()
    folder = tmp_path_factory.mktemp("browser")
    write_report(write_world(folder / "evaluate"), folder / "report", CONTEXT)
    return folder / "report" / "index.html"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_drawn_and_fits(report: Path, tmp_path: Path, width: int, theme: str) -> None:
    found = measured(report, tmp_path / "profile", width, theme)
    assert found["plots"] > 40
    assert problems(found, theme) == {}


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_the_page_can_be_seen(report: Path, tmp_path: Path, width: int, theme: str) -> None:
    shot, frame = tmp_path / "shot.png", framed(report, width)
    run_chromium(tmp_path / "profile", theme, f"--window-size=1400,{TALL}", f"--screenshot={shot}", frame.as_uri())
    with Image.open(shot) as image:
        pixels = image.convert("RGB").crop((0, 0, width, TALL))
    assert pixels.getpixel((2, 2)) == PAPER[theme]
    colours = pixels.getcolors(maxcolors=width * TALL)
    assert len(colours) > 200  # text and plots, not an empty page


def test_the_page_is_printed_on_white_whatever_the_reader_prefers(report: Path, tmp_path: Path) -> None:
    style = report.read_text()
    assert "@media screen and (prefers-color-scheme: dark)" in style
    assert style.count("prefers-color-scheme") == 1
