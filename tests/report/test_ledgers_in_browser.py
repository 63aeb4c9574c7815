"""The pages of a corpus in a real browser, with the longest words that people write."""

from pathlib import Path

import pytest
from browser import chromium, measured, problems
from corpus_samples import png, run, settings_for, table

from mmkd.features.evidence.evidence import evidence
from mmkd.features.evidence.settings import EvidenceSettings
from mmkd.report import curation
from mmkd.report.curation import write_ledger
from mmkd.report.evidence import PAGE, write_evidence_page
from seen_world import make_seen_world
from tiny import MACHINE

LONG = "pneumonoultramicroscopicsilicovolcanoconiosis_" * 12


def curation_page(folder: Path) -> Path:
    described = [
        ("ct", "CT of a cyst"),
        ("mri", f"MRI {LONG}"),
        (LONG, "A photograph"),
        ("ct", ""),
        ("ct", "CT of a cyst"),
    ]
    rows = [
        {"id": f"{LONG}{place}", "image": f"{place % 4}.png", "caption": caption, "group": LONG, "modality": modality}
        for place, (modality, caption) in enumerate(described)
    ]
    source = table(folder, rows, {f"{place}.png": png(place, 40, 400) for place in range(4)})
    corpus = run(settings_for(source, max_rejected=1.0, captions={"language": "tag"}), folder / "out")
    write_ledger(corpus.folder, LONG)
    return corpus.folder / curation.PAGE


def evidence_page(folder: Path) -> Path:
    columns = {"image": {14: {"bytes": png(14, 40, 400), "path": None}}, "caption": {14: f"Axial CT {LONG}", 18: LONG}}
    world = make_seen_world(folder, modality_stated={14: "CT", 18: "MRI"}, **columns)
    names = [f"sharp_{LONG[:60]}", "dim"]
    for seed, (name, contrast) in enumerate(zip(names, (1.0, 0.3), strict=True)):
        world.add(name, contrast, seed=seed)
    corpus, out = world.folder / "corpus", folder / "evidence"
    evidence(EvidenceSettings(), corpus, world.folder / "features", names, out, MACHINE)
    write_evidence_page(out, corpus)
    return out / PAGE


PAGES = {"curation": curation_page, "evidence": evidence_page}


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    chromium()
    return PAGES[request.param](tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_the_page_fits_whatever_the_data_say(page: Path, tmp_path: Path, width: int, theme: str) -> None:
    assert problems(measured(page, tmp_path / "profile", width, theme), theme) == {}
