"""`mmkd index` and `mmkd search` on a tiny student: what open_clip would rank, in every form of output."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from archive_world import write_pictures
from PIL import Image
from typer.testing import CliRunner

from mmkd.archive.archive import Archive
from mmkd.cli import app
from mmkd.errors import ConfigError, DataError
from tiny import save_tiny

COUNT = 12


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pictures/ with a table that names their patients, a student, and the archive of them."""
    folder = tmp_path_factory.mktemp("command")
    write_pictures(folder / "pictures", COUNT)
    lines = [f"{place:04d}.png,<b>caption</b> {place},p{place // 3}" for place in range(COUNT)]
    (folder / "pictures/pairs.csv").write_text("\n".join(["image,caption,patient_id", *lines]))
    for seed, name in enumerate(("student", "other")):
        save_tiny(folder / name, seed)
    out = call("index", f"{folder}/pictures/pairs.csv", "--model", f"{folder}/student", "--out", f"{folder}/archive")
    assert f"{COUNT} new, 0 changed, 0 as before; {COUNT} in all" in out
    assert "every search looks at all pictures (exact)" in out
    return folder


def oracle(place: Path, text: str) -> list[str]:
    """File names, best first, by open_clip alone."""
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{place}/student")
    tokens = open_clip.get_tokenizer(f"local-dir:{place}/student")([text])
    files = sorted((place / "pictures").glob("*.png"))
    with torch.no_grad():
        image_ND = model.eval().encode_image(
            torch.stack([transform(Image.open(file)) for file in files]), normalize=True
        )
        text_D = model.encode_text(tokens, normalize=True)[0]
    return [files[at].name for at in np.argsort(-(image_ND @ text_D).numpy())]


def test_words_find_what_open_clip_ranks_first(place: Path) -> None:
    found = json.loads(call("search", f"{place}/archive", "a red tumour", "-k", "5", "--json"))
    assert [Path(one["file"]).name for one in found] == oracle(place, "a red tumour")[:5]
    assert all(Path(one["file"]).is_file() for one in found)
    table = call("search", f"{place}/archive", "a red tumour", "-k", "2")
    assert re.search(rf"1\s+{found[0]['score']:.4f}", table)
    assert f"{COUNT} pictures in {place}/archive, model student, exact" in table


def test_a_picture_finds_itself_and_others_of_other_patients(place: Path) -> None:
    image = f"{place}/pictures/0004.png"
    [first, *_] = json.loads(call("search", f"{place}/archive", "--image", image, "--json"))
    assert (Path(first["file"]).name, first["score"]) == ("0004.png", pytest.approx(1, abs=1e-5))
    out = call("search", f"{place}/archive", "--like", first["id"], "-k", "99", "--not-same-patient")
    assert "3 of the same patient left out; of 0 the patient is not known" in out
    assert not re.search(r"000[345]\.png", out)
    with pytest.raises(ConfigError, match=r"the patient of .* is not known; give --patient ID"):
        call("search", f"{place}/archive", "--image", image, "--not-same-patient")
    other = call("search", f"{place}/archive", "--image", image, "--not-same-patient", "--patient", first["patient"])
    assert "3 of the same patient left out" in other


def test_hits_as_files(place: Path, tmp_path: Path) -> None:
    asked = ("search", f"{place}/archive", "=1+1", "--where", "caption LIKE '%1%'")
    call(*asked, "--out", str(tmp_path / "hits.csv"), "--html", str(tmp_path / "hits.html"), "-q")
    found = list(csv.DictReader((tmp_path / "hits.csv").open()))
    assert sorted(row["caption"] for row in found) == [f"<b>caption</b> {n}" for n in (1, 10, 11)]
    page = (tmp_path / "hits.html").read_text()
    assert page.count("data:image/jpeg") == 3
    assert "&lt;b&gt;caption" in page
    assert not re.search(r"<script|<b>caption|src=\"(?!data:)|https?://", page)


def test_what_cannot_be_searched_is_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match="give one of TEXT, --image and --like; given: none"):
        call("search", f"{place}/archive")
    with pytest.raises(ConfigError, match="this is model other"):
        call("search", f"{place}/archive", "x", "--model", f"{place}/other")
    with pytest.raises(ConfigError, match="this is model other"):
        call("index", f"{place}/pictures", "--model", f"{place}/other", "--out", f"{place}/archive")
    with pytest.raises(DataError, match="no picture 'none' in"):
        call("search", f"{place}/archive", "--like", "none")
    with pytest.raises(DataError, match=r"does not answer .* start it, or see --server"):
        call("search", "archive", "x", "--server", "http://127.0.0.1:9")


def test_a_condition_that_nothing_meets_is_answered_with_the_values_there_are(place: Path) -> None:
    out = " ".join(call("search", f"{place}/archive", "x", "--where", "patient = 'P1' OR modality = 'none'").split())
    assert "0 meet patient = 'P1' OR modality = 'none' (patient is 'p0' (3), 'p1' (3), 'p2' (3), 'p3' (3)" in out
    assert "; modality is " in out
    assert "meet" in call("search", f"{place}/archive", "x", "--where", "patient = 'p1'")


def test_pictures_are_deleted_by_id(place: Path) -> None:
    archive = f"{place}/deleted"
    call("index", f"{place}/pictures/pairs.csv", "--model", f"{place}/student", "--out", archive)
    first, second = list(Archive.open(archive).states())[:2]
    out = call("index", "--out", archive, "--delete", first, "--delete", second)
    assert f"deleted 2; {COUNT - 2} pictures are left" in out
    assert not {first, second} & set(Archive.open(archive).states())
