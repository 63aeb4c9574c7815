"""What curation counts and tells of records that it keeps: modalities that are not known, pages that are not read."""

import io
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from corpus_samples import encoded, noise, png, run, settings_for, table
from PIL import Image

from mmkd.curation.ledger.notes import notes_in_words
from mmkd.curation.plan import plan_curation
from mmkd.curation.records.notes import OTHER_NAMES, fewer_names, with_notes
from mmkd.curation.records.record import Noted, Record
from mmkd.images.decode import SEVERAL, has_several
from mmkd.report.curation import ledger_page, read_ledger


def paged(kind: str, frames: int) -> bytes:
    pictures = [Image.fromarray(noise(seed)) for seed in range(frames)]
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:])


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG"])
def test_files_with_several_pages_are_known(kind: str) -> None:
    assert has_several(io.BytesIO(paged(kind, 3)))
    assert not has_several(io.BytesIO(paged(kind, 1)))
    assert not has_several(io.BytesIO(paged(kind, 3)[:12]))
    assert not has_several(io.BytesIO(encoded(noise(1), "JPEG")))


@pytest.mark.parametrize("cached", [False, True])
def test_pages_that_are_not_read_are_counted_and_told(
    tmp_path: Path, cached: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    images = {"a.tif": paged("TIFF", 2), "b.gif": paged("GIF", 3), "c.png": png(5)}
    path = table(tmp_path, [{"image": name, "caption": f"shows {name}"} for name in images], images)
    settings = settings_for(path, cache_shards=cached)
    assert len(run(settings, tmp_path / "out")) == 3
    assert json.loads((tmp_path / "out/funnel.json").read_text())["sources"]["t"]["noted"] == {SEVERAL: 2}
    assert "t: 2 files have several pages or frames; only the first is read" in capsys.readouterr().out
    assert [plan.noted for plan in plan_curation(settings)] == [{SEVERAL: 2}]


@pytest.mark.parametrize("cached", [False, True])
def test_modalities_that_are_not_known_are_counted_and_told(
    tmp_path: Path, cached: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["Ultrasond", "Ultrasond", "zz", "CT", "", "other"]
    rows = [{"image": f"{i}.png", "caption": f"case {i}", "modality": name} for i, name in enumerate(names)]
    settings = settings_for(table(tmp_path, rows, {f"{i}.png": png(i) for i in range(6)}), cache_shards=cached)
    corpus = run(settings, tmp_path / "out")
    assert corpus.column("modality") == ["other", "other", "other", "ct", "unknown", "other"]
    noted = {"modality not known, taken as other: Ultrasond": 2, "modality not known, taken as other: zz": 1}
    assert json.loads((tmp_path / "out/funnel.json").read_text())["sources"]["t"]["noted"] == noted
    told = " ".join(capsys.readouterr().out.split())
    assert "taken as other: 'Ultrasond' (2, did you mean 'ultrasound'?), 'zz' (1); write names" in told
    assert plan_curation(settings)[0].noted == noted


@pytest.mark.parametrize("cached", [False, True])
def test_unknown_modalities_are_counted_of_rejected_records_too(tmp_path: Path, cached: bool) -> None:
    """One is kept, one has too few words, and the caption of one is shorter than any that is taken."""
    captions = ["a long caption of a case", "two words", "x"]
    rows = [{"image": f"{i}.png", "caption": caption, "modality": "zz"} for i, caption in enumerate(captions)]
    path = table(tmp_path, rows, {f"{i}.png": png(i) for i in range(3)})
    settings = settings_for(path, cache_shards=cached, filters={"min_words": 3}, min_caption=3, max_rejected=1)
    assert len(run(settings, tmp_path / "out")) == 1
    found = json.loads((tmp_path / "out/funnel.json").read_text())["sources"]["t"]
    assert found["noted"] == {"modality not known, taken as other: zz": 3}
    assert plan_curation(settings)[0].noted == found["noted"]


def test_of_many_names_that_are_not_known_a_hundred_are_kept() -> None:
    """250 names, of which each of the first is there twice."""
    names = [f"z{i:03d}" for i in range(250)] + [f"z{i:03d}" for i in range(10)]
    records = [Record(str(i), b"", "c", name, "", "", "t", "") for i, name in enumerate(names)]
    noted = Counter(one.what for one in with_notes(records) if isinstance(one, Noted))
    assert len(noted) == 101
    assert noted[OTHER_NAMES] == 150
    assert noted["modality not known, taken as other: z009"] == 2
    few = fewer_names({**noted, SEVERAL: 4}, 10)
    kept = {f"modality not known, taken as other: z00{i}": 2 for i in range(10)}
    assert few == kept | {SEVERAL: 4, OTHER_NAMES: 150 + 90}
    assert fewer_names(noted) == noted
    (told,) = notes_in_words("t", noted)
    assert "'z004' (2) and 95 more, and others (150); write names" in told


def test_the_page_shows_a_few_of_the_names(tmp_path: Path) -> None:
    rows = [{"image": f"{i}.png", "caption": f"case {i}", "modality": f"zz{i}"} for i in range(7)]
    run(settings_for(table(tmp_path, rows, {f"{i}.png": png(i) for i in range(7)})), tmp_path / "out")
    page = ledger_page(read_ledger(tmp_path / "out", "tiny"))
    assert "What was noted of files and records" in page
    assert [f"taken as other: zz{i}" in page for i in range(7)] == [True] * 5 + [False] * 2
    assert re.search(rf"{OTHER_NAMES}</td>\s*<td[^>]*>2</td>", page)
