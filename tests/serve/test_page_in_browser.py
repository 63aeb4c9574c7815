"""The page in a real Chromium, at the widths of a desk and of a phone, by day and by night."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
import numpy as np
import pytest
from devtools import Browser, Page
from dicom_samples import PATIENT, dicom
from PIL import Image
from served_page import ColourArchive, colour_service, running, spot

from mmkd.serve.page import mount, views

pytestmark = pytest.mark.slow
TABS = ("Try", "Search", "Compare", "About")
# what a reader cannot use: inputs without a name, pictures without a text, faint texts, parts that stick out
FAULTS = """(() => {
  const seen = node => node.offsetWidth > 0 && node.offsetHeight > 0;
  const inputs = [...document.querySelectorAll('input:not([type=file]), textarea, select')].filter(seen)
    .filter(i => !(i.labels && i.labels.length) && !i.ariaLabel && !i.title && !i.getAttribute('aria-labelledby'));
  const images = [...document.querySelectorAll('img')].filter(i => !i.alt);
  const channels = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const linear = c => c / 255 <= .03928 ? c / 255 / 12.92 : ((c / 255 + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(linear).reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const paper = node => { for (let n = node; n; n = n.parentElement) {
    const found = channels(getComputedStyle(n).backgroundColor);
    if (found.length < 4 || found[3] > .9) return found; } return [255, 255, 255]; };
  const faint = [...document.querySelectorAll('.mm *, label, label *, button')].filter(seen)
    .filter(n => [...n.childNodes].some(c => c.nodeType == 3 && c.data.trim()))
    .filter(n => getComputedStyle(n).opacity == 1 && getComputedStyle(n).visibility == 'visible')
    .map(n => { const [a, b] = [light(channels(getComputedStyle(n).color)), light(paper(n))].sort((x, y) => y - x);
      return [(a + .05) / (b + .05), n.innerText.slice(0, 40)]; }).filter(([ratio]) => ratio < 4.5);
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  return { inputs: inputs.map(i => i.outerHTML.slice(0, 120)), images: images.map(i => i.outerHTML.slice(0, 80)),
    faint, wide };
})()"""
WHOLE = {"inputs": [], "images": [], "faint": [], "wide": 0}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running(colour_service(ColourArchive())) as found:
        yield found


@pytest.fixture(scope="module")
def browser(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def opened(browser: Browser, address: str, width: int = 1280, theme: str = "light") -> Page:
    page = browser.page(width, theme)
    page.open(address)
    page.wait("document.querySelectorAll('button[role=tab]').length >= 4")
    return page


def asked(page: Page, picture: Path, findings: str) -> None:
    page.upload([picture])
    page.wait_for("256 × 256 pixels")
    page.type("Findings", findings)
    page.press("Ask")


def cards(page: Page) -> list[str]:
    """What each model says."""
    page.wait("document.querySelectorAll('.mm.cards .card').length > 0")
    found: list[str] = page.run("[...document.querySelectorAll('.mm.cards .card')].map(c => c.innerText)")
    return found


def toast(page: Page) -> str:
    return str(page.wait("document.querySelector('.toast-body')?.innerText"))


def files_left() -> list[Path]:
    return [path for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if path.is_file()]


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_every_tab_is_whole_and_asks_no_other_host(
    browser: Browser, address: str, tmp_path: Path, width: int, theme: str
) -> None:
    page = opened(browser, address, width, theme)
    asked(page, spot(tmp_path / "a.png", "red"), "red\ngreen\nblue")
    page.wait_for("Where in the picture, for student")
    faults = {"Try": page.run(FAULTS)}
    page.tab("Search")
    page.type("Words", "red")
    page.press("Search")
    page.wait_for("most similar first")
    faults["Search"] = page.run(FAULTS)
    page.tab("Compare")
    page.upload([spot(tmp_path / f"{number}.png", colour) for number, colour in enumerate(("red", "blue"))])
    page.wait_for("256 × 256 pixels")
    page.type("Findings", "red\ngreen\nblue")
    page.press("Compare")
    page.wait_for("same top finding in 0 of 2 pictures")
    faults["Compare"] = page.run(FAULTS)
    page.tab("About")
    page.wait_for("Card of the student")
    faults["About"] = page.run(FAULTS)
    assert faults == dict.fromkeys(TABS, WHOLE)
    hosts = {urlsplit(found).netloc for found in page.requested() if not found.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(address).netloc}  # the model card names a picture of another one, which is refused
    assert page.run("document.title") == "student - mmkd"  # the script in the card did not run


def test_the_answer_is_that_of_the_service(browser: Browser, address: str, tmp_path: Path) -> None:
    page = opened(browser, address)
    evil = "<img src=x onerror=\"document.title='taken over'\"> ${7 * 7} {{ 7 * 7 }}"
    asked(page, spot(tmp_path / "a.png", "blue"), "red\ngreen\nblue")
    student, turned = cards(page)
    assert "Calibrated: temperature fitted on 100 pictures of colours." in student
    assert "Not calibrated" in turned
    page.wait_for("Mostly at the upper left")
    page.type("Findings", f"red\nblue\n{evil}")
    page.press("Ask")
    page.wait("document.querySelector('.mm.cards').innerText.includes('${7 * 7}')")
    data, findings = (tmp_path / "a.png").read_bytes(), ["red", "blue", evil]
    (expected,) = colour_service().classify(data, findings, ["student"])
    student = cards(page)[0].replace("\t", "\n").replace("\n\n", "\n")
    for score in expected.scores:
        assert f"{score.name}\n{views.percent(score.probability)}" in student
    assert "Not calibrated" in student  # for these findings
    assert page.run("document.title") == "student - mmkd"
    assert files_left() == []


def test_the_archive_is_searched_by_words_and_by_a_picture(browser: Browser, address: str, tmp_path: Path) -> None:
    page = opened(browser, address)
    hits = "[...document.querySelectorAll('.hits .card')].map(c => c.innerText.split('\\n')[0])"
    page.tab("Search")
    page.press("Search")
    assert "Neither words nor a picture" in toast(page)
    page.type("Words", "red")
    page.press("Search")
    page.wait(f"{hits}[0] == 'a red picture'")
    page.type("Leave out this patient", "P1")
    page.press("Search")
    page.wait(f"{hits}.length == 1")
    page.type("Leave out this patient", "")
    page.type("Words", "")
    page.upload([spot(tmp_path / "b.png", "blue", size=80)])
    page.wait_for("80 × 80 pixels")
    page.press("Search")
    page.wait(f"{hits}.length == 2 && document.querySelector('.hits .card').innerText.includes('a blue picture')")
    assert files_left() == []


def test_a_wrong_file_gets_a_clear_message_and_the_next_one_an_answer(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    page = opened(browser, address)
    (tmp_path / "notes.txt").write_text("<b>no picture</b>")
    page.upload([tmp_path / "notes.txt"])
    told = toast(page)
    assert "otes.txt: unreadable_image" in told
    assert "expected a JPEG" in told
    assert "Traceback" not in page.run("document.body.innerText")
    assert files_left() == []
    asked(page, spot(tmp_path / "a.png", "red"), "red\nblue")
    assert "red" in cards(page)[0]


def test_a_dicom_file_is_shown_and_answered_without_its_patient(browser: Browser, address: str, tmp_path: Path) -> None:
    picture_HWC = np.asarray(Image.open(spot(tmp_path / "a.png", "blue")))
    colour = {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0}
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "Rows": 256, "Columns": 256}
    dicom(tmp_path / "x.dcm", "1.2.3", 0, **colour, **bits, PixelData=picture_HWC.tobytes())
    page = opened(browser, address)
    asked(page, tmp_path / "x.dcm", "red\ngreen\nblue")
    cards(page)
    assert page.wait("document.querySelector('.card.student .top th')?.innerText") == "blue"
    shown = page.run("document.documentElement.outerHTML")
    assert not [fact for fact in PATIENT if fact in shown]
    assert files_left() == []


def test_a_fault_of_ours_is_said_without_its_details(browser: Browser, address: str, tmp_path: Path) -> None:
    page = opened(browser, address)
    asked(page, spot(tmp_path / "a.png", "red"), "red\ncrash")
    assert "The service failed" in toast(page)
    assert "secret" not in page.run("document.documentElement.outerHTML")


def test_what_a_client_names_by_an_address_is_not_fetched(tmp_path: Path) -> None:
    service = colour_service()
    for block in mount.page(service, tmp_path).blocks.values():
        with pytest.raises(gr.Error, match="not fetched"):
            asyncio.run(block.async_move_resource_to_block_cache("http://192.0.2.1/x.png"))
    service.close()


def test_two_users_at_once_see_each_their_own(browser: Browser, address: str, tmp_path: Path) -> None:
    pages = {colour: opened(browser, address) for colour in ("red", "green")}
    for colour, page in pages.items():
        page.upload([spot(tmp_path / f"{colour}.png", colour)])
        page.wait_for("256 × 256 pixels")
        page.type("Findings", "red\ngreen\nblue")
    for page in pages.values():
        page.press("Ask")
    for colour, page in pages.items():
        top = "document.querySelector('.card.student .top th')?.innerText"
        page.wait(f"{top} == '{colour}'")
        other = "green" if colour == "red" else "red"
        assert f"{other}.png" not in page.run("document.body.innerText")


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_two_models_are_compared_on_the_folder_given_at_start(
    browser: Browser, tmp_path: Path, width: int, theme: str
) -> None:
    """Its pictures in place of uploads, with their names below the folder, and what cannot be read is counted."""
    folder = tmp_path / "secret place" / "scans"
    (folder / "in").mkdir(parents=True)
    for number, colour in enumerate(("red", "blue", "green")):
        spot(folder / f"in/{number}.png", colour)
    (folder / "bad.png").write_bytes(b"no picture")
    with running(colour_service(folder=folder)) as place:
        page = opened(browser, place, width, theme)
        page.tab("Compare")
        page.wait_for("Take the pictures of the folder scans instead")
        page.type("Findings", "red\ngreen\nblue")
        page.press("Compare")
        page.wait_for("same top finding in 0 of 3 pictures")
        page.wait_for("4 of 4 pictures of scans; 1 could not be read.")
        assert "in/0.png" in page.run("document.body.innerText")
        assert "secret place" not in page.run("document.documentElement.outerHTML")
        assert page.run(FAULTS) == WHOLE
        if shots := os.environ.get("MMKD_SCREENSHOTS"):
            page.screenshot(Path(shots) / f"compare-{width}-{theme}.png")
