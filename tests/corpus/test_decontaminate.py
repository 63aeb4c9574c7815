"""Pictures of evaluation sets stay out of the corpus, as they are and turned, and the list says which."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_samples import HERE, REALDATA, encoded, needs_realdata, noise, settings_for, table, write_files
from PIL import Image

from mmkd.corpus.curate import corpus_stage, curate
from mmkd.corpus.decontaminate import Avoided, contaminated
from mmkd.corpus.settings import CurateSettings
from mmkd.errors import DataError
from mmkd.evaluation.leakage.avoid import EvaluationPictures
from mmkd.stage import complete

CARD = """
id = "held_out"
modality = "x-ray"
tasks = ["zero_shot"]
licence = "none"
[layout]
reader = "folders"
path = "{folder}"
splits = {{ test = "." }}
[[classes]]
name = "one"
folder = "one"
prompts = ["one"]
[[classes]]
name = "two"
folder = "two"
prompts = ["two"]
"""


def removed(settings: CurateSettings, folder: Path) -> dict[str, str]:
    folder.mkdir()
    curate(settings, folder, HERE, 7, EvaluationPictures(settings).read)
    listed = pq.read_table(folder / "rejected.parquet").to_pylist()
    return {row["id"]: row["detail"] for row in listed if row["reason"] == "contaminated"}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Of six pictures, one is in the evaluation set as it is, one stored with loss, one turned, one large."""
    images = {
        "0.png": encoded(noise(0, 60, 60)),
        "1.png": encoded(noise(1, 60, 60)),
        "2.png": encoded(noise(2, 60, 60)),
        "3.png": encoded(noise(3, 900, 900)),
        "4.png": encoded(noise(4, 60, 60)),
        "5.png": encoded(noise(0, 60, 60)),
    }
    rows = [{"id": name[0], "image": name, "caption": f"finding {name[0]}"} for name in images]
    evaluated = {
        "one/a.png": images["0.png"],
        "one/b.jpg": encoded(noise(1, 60, 60), "JPEG", quality=80),
        "two/c.png": encoded(Image.fromarray(noise(2, 60, 60)).transpose(Image.Transpose.ROTATE_90)),
        "two/d.png": images["3.png"],
    }
    write_files(tmp_path / "set", evaluated)
    return table(tmp_path, rows, images)


def test_a_folder_s_pictures_are_removed_in_all_views(tmp_path: Path, pairs: Path) -> None:
    settings = settings_for(pairs, decontaminate=[tmp_path / "set"], max_rejected=0.9)
    found = removed(settings, tmp_path / "out")
    assert sorted(found) == ["0", "1", "2", "3", "5"]
    assert found["0"] == found["5"] == "the image of set/one/a.png"
    assert found["3"] == "the image of set/two/d.png"  # stored smaller, here as there
    assert found["1"].endswith("bits of the perceptual hash from set/one/b.jpg, as it is")
    assert "set/two/c.png, quarter turn" in found["2"]


def test_a_card_gives_the_names_of_its_samples_and_its_digest(tmp_path: Path, pairs: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text(CARD.format(folder=tmp_path / "set"))
    settings = settings_for(pairs, decontaminate=[card], max_rejected=0.9)
    found = removed(settings, tmp_path / "out")
    assert sorted(found) == ["0", "1", "2", "3", "5"]
    assert all("held_out/" in detail for detail in found.values())
    before = EvaluationPictures(settings).fingerprints()
    stage = corpus_stage(tmp_path / "corpus", settings, {}, 7, before)
    assert stage.inputs["decontaminate 0 card.toml"] == before["decontaminate 0 card.toml"]
    (tmp_path / "set/one/a.png").write_bytes(encoded(noise(9, 60, 60)))
    assert EvaluationPictures(settings).fingerprints() != before


def test_a_contaminated_record_does_not_make_a_clean_one_its_duplicate(tmp_path: Path) -> None:
    rows = [{"id": "x", "image": "0.png", "caption": "one"}, {"id": "x", "image": "1.png", "caption": "two"}]
    path = table(tmp_path, rows, {"0.png": encoded(noise(0)), "1.png": encoded(noise(1))})
    write_files(tmp_path / "set", {"a.png": encoded(noise(0))})
    settings = settings_for(path, decontaminate=[tmp_path / "set"])
    stage = corpus_stage(tmp_path / "out", settings, settings.model_dump(mode="json"), 7)
    counts = complete(stage, lambda folder: curate(settings, folder, HERE, 7, EvaluationPictures(settings).read))
    assert (counts["counts"]["kept"], counts["counts"]["rejected"]) == (1, 1)


def test_of_several_pictures_the_nearest_is_told() -> None:
    avoided = Avoided(["far", "near"], ["", ""], np.array([[0b111], [0b1]], np.uint64), ["as it is"])
    found = contaminated({}, np.array([0, 2**40 - 1], np.uint64), avoided, radius=4)
    assert found == {0: "1 bits of the perceptual hash from near, as it is"}


def test_of_folders_of_one_name_each_counts(tmp_path: Path) -> None:
    for name, seed in {"a": 0, "b": 1}.items():
        write_files(tmp_path / name / "test", {"0.png": encoded(noise(seed, 60, 60))})
    settings = settings_for(tmp_path, decontaminate=[tmp_path / "a/test", tmp_path / "b/test"])
    before = EvaluationPictures(settings).fingerprints()
    assert len(before) == 2
    for name in ("a", "b"):
        write_files(tmp_path / name / "test", {f"{name}.png": encoded(noise(2, 60, 60))})
        now = EvaluationPictures(settings).fingerprints()
        assert now != before
        before = now


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, decontaminate=[tmp_path / "nowhere"])
    with pytest.raises(DataError, match="nowhere: no such folder"):
        EvaluationPictures(settings).fingerprints()


@needs_realdata
def test_copies_between_the_real_pairs_and_the_classification_sets_are_found(tmp_path: Path) -> None:
    """Four brain slices are in both, in the classification set mirrored or turned."""
    source = {"kind": "table", "name": "real", "path": REALDATA / "pairs/pairs.jsonl", "only": {"modality": ["MRI"]}}
    folder = REALDATA / "classify/mri_brain_tumor"
    settings = CurateSettings.model_validate({"sources": [source], "decontaminate": [folder]})
    found = removed(settings, tmp_path / "out")
    exact = sorted(name for name, detail in found.items() if detail.startswith("0 bits"))
    assert exact == ["braintumor_0000", "braintumor_0001", "braintumor_0011", "braintumor_0012"]
    assert found["braintumor_0000"].endswith("mri_brain_tumor/test/notumor/000.jpg, half turn")
