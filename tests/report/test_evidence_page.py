"""The page of the evidence: what teachers and captions say, with the pictures that they quarrel about."""

import re
from pathlib import Path

import pytest
from corpus_samples import png

from mmkd.features.evidence.evidence import MOST_CONFLICTS, evidence
from mmkd.features.evidence.settings import EvidenceSettings
from mmkd.report.evidence import PAGE, PICTURES, write_evidence_page
from seen_world import SeenWorld, make_seen_world
from tiny import MACHINE

CT, MRI = "Axial CT <b>number</b> 14", "T2-weighted MRI"


@pytest.fixture
def world(tmp_path: Path) -> SeenWorld:
    """Rows 14 and 18 show ultrasound images and are called CT and MRI; the picture of row 18 cannot be read."""
    columns = {"image": {14: {"bytes": png(14), "path": None}}, "caption": {14: CT, 18: MRI}}
    world = make_seen_world(tmp_path, modality_stated={14: "CT", 18: "MRI"}, **columns)
    world.add("sharp", 1.0, seed=1)
    world.add("dim", 0.3, seed=2)
    return world


def page_of(world: SeenWorld, folder: Path) -> str:
    corpus = world.folder / "corpus"
    evidence(EvidenceSettings(), corpus, world.folder / "features", ["sharp", "dim"], folder, MACHINE)
    write_evidence_page(folder, corpus)
    return (folder / PAGE).read_text()


def rows_of(page: str, anchor: str) -> dict[str, list[str]]:
    """The first table of a section: name of each line -> its cells, small print after a slash."""
    table = page.split(f'<h2 id="{anchor}"')[1].split("</table>")[0].replace("<small>", " / ")
    lines = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', table)
    return {name: [re.sub("<.*?>", "", cell) for cell in re.findall("<td.*?</td>", cells)] for name, cells in lines}


def test_the_page_shows_what_was_counted(world: SeenWorld, tmp_path: Path) -> None:
    page = page_of(world, tmp_path / "found")
    votes = rows_of(page, "votes")
    assert votes["all"] == ["2", "136", "240", "240"]  # 45 of each kind but plots, and row 18
    assert votes["ct"] == ["1", "46", "60", "61"]  # row 14 is called CT by two
    assert rows_of(page, "agreement")["image and source"][:2] == ["2", "0.0%"]
    assert rows_of(page, "agreement")["caption and source"][:2] == ["2", "100.0%"]
    teachers = rows_of(page, "teachers")
    assert teachers["mri"][0] == "97.8% / of 46"  # all but row 18
    assert teachers["other"][0] == "100.0% / of 45"
    assert rows_of(page, "trust")["ultrasound"][0] == "95.7% / 44 of 46"  # not rows 14 and 18


def test_conflicts_have_their_pictures_and_what_each_kind_says(world: SeenWorld, tmp_path: Path) -> None:
    page = page_of(world, tmp_path / "found")
    shown = page.split('<h2 id="conflicts"')[1]
    assert shown.count("<figure>") == 2
    assert shown.count("<img") == 1
    assert "Axial CT &lt;b&gt;number&lt;/b&gt; 14" in shown
    assert re.search(
        r"verdict: ct \(1.00\).*✓ source: ct \(0\.97\).*✓ caption: ct \(0\.95\).*✗ image: ultrasound \(0\.\d\d\)", shown
    )
    assert "pair 14" in shown
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_equal_evidence_makes_equal_pages(world: SeenWorld, tmp_path: Path) -> None:
    assert page_of(world, tmp_path / "one") == page_of(world, tmp_path / "two")


def test_a_page_of_many_conflicts_is_bounded(tmp_path: Path) -> None:
    world = make_seen_world(tmp_path, count=2400, modality_stated=dict.fromkeys(range(2, 2400, 4), "CT"))
    world.add("sharp", 1.0, seed=1)
    world.add("dim", 0.3, seed=2)
    page = page_of(world, tmp_path / "found")
    shown = page.split('<h2 id="conflicts"')[1]
    assert shown.count("<figure>") == PICTURES
    assert f"The first {PICTURES} of 600 conflicts." in shown
    assert shown.count('<th scope="row">') == MOST_CONFLICTS


def test_a_corpus_without_conflicts_has_no_such_section(tmp_path: Path) -> None:
    world = make_seen_world(tmp_path)
    world.add("sharp", 1.0, seed=1)
    world.add("dim", 0.0, seed=2)
    assert 'id="conflicts"' not in page_of(world, tmp_path / "found")
