"""What curation counts and tells of records that it keeps: modalities that are not known, pages that are not read."""

import io
import json
from pathlib import Path

import pytest
from corpus_samples import encoded, noise, png, run, settings_for, table
from PIL import Image

from mmkd.curation.plan import plan_curation
from mmkd.images.decode import SEVERAL, has_several


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
