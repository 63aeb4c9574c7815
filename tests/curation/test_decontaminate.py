"""Pictures of evaluation sets stay out of the corpus, as they are and turned, and the list says which."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_samples import (
    HERE,
    REALDATA,
    encoded,
    needs_realdata,
    noise,
    settings_for,
    shard_digests,
    table,
    write_files,
)
from PIL import Image, ImageFilter

from mmkd.curation import decontaminate
from mmkd.curation.curate import corpus_stage, curate
from mmkd.curation.decontaminate import EvaluationImages, contaminated
from mmkd.curation.settings.curate import CurateSettings
from mmkd.errors import DataError
from mmkd.evaluation.leakage.decontamination_images import DecontaminationImages
from mmkd.evaluation.leakage.hashes import view_hashes
from mmkd.folders.stage import complete
from mmkd.images.thumbnails import perceptual_hash
from mmkd.settings import Machine
from mmkd.tables import text as text_tables

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


def removed(settings: CurateSettings, folder: Path, machine: Machine = HERE) -> dict[str, str]:
    folder.mkdir()
    curate(settings, folder, machine, 7, DecontaminationImages(settings).read)
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
    before = DecontaminationImages(settings).fingerprints()
    stage = corpus_stage(tmp_path / "corpus", settings, {}, 7, before)
    assert stage.inputs["decontaminate 0 card.toml"] == before["decontaminate 0 card.toml"]
    (tmp_path / "set/one/a.png").write_bytes(encoded(noise(9, 60, 60)))
    assert DecontaminationImages(settings).fingerprints() != before


def test_a_contaminated_record_does_not_make_a_clean_one_its_duplicate(tmp_path: Path) -> None:
    rows = [{"id": "x", "image": "0.png", "caption": "one"}, {"id": "x", "image": "1.png", "caption": "two"}]
    path = table(tmp_path, rows, {"0.png": encoded(noise(0)), "1.png": encoded(noise(1))})
    write_files(tmp_path / "set", {"a.png": encoded(noise(0))})
    settings = settings_for(path, decontaminate=[tmp_path / "set"])
    stage = corpus_stage(tmp_path / "out", settings, settings.model_dump(mode="json"), 7)
    counts = complete(stage, lambda folder: curate(settings, folder, HERE, 7, DecontaminationImages(settings).read))
    assert (counts["counts"]["kept"], counts["counts"]["rejected"]) == (1, 1)


def images_of(names: list[str], hashes: list[int], thumbnails: list[np.ndarray]) -> EvaluationImages:
    thumbnail_MK = np.array(thumbnails, np.uint8)
    same = np.arange(thumbnail_MK.shape[1])[None]
    return EvaluationImages(
        names, [""] * len(names), np.array(hashes, np.uint64)[:, None], thumbnail_MK, ["as it is"], same
    )


RAMP = np.array([0, 60, 120, 180])
BENT = np.array([0, 60, 120, 140])  # correlates with the ramp to 0.970


def test_of_several_pictures_the_most_alike_is_told_then_the_nearest() -> None:
    held_out = images_of(["near", "alike", "twin", "far"], [0b1, 0b111, 0b11, 0], [BENT, RAMP, RAMP // 2, RAMP[::-1]])
    thumbnails = {0: RAMP + 7, 1: RAMP}
    found = contaminated(
        np.array([0, 2**40 - 1], np.uint64), lambda places: np.stack([thumbnails[p] for p in places]), held_out, 4, 0.9
    )
    assert found == {0: "correlation 1.000, 2 bits of the perceptual hash from twin, as it is"}


def test_what_is_near_by_its_hash_alone_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = images_of(["a", "b"], [0b1, 0b11], [RAMP, RAMP[::-1]])
    thumbnails = [BENT, RAMP, np.array([60, 0, 180, 120]), np.full(4, 9)]  # of records whose hashes are all near
    hash_N = np.zeros(4, np.uint64)

    def found(correlation: float) -> list[int]:
        return list(
            contaminated(hash_N, lambda places: np.stack([thumbnails[p] for p in places]), held_out, 4, correlation)
        )

    assert [found(correlation) for correlation in (0.98, 0.96, 0.5, 0.0)] == [[1], [0, 1], [0, 1, 2], [0, 1, 2, 3]]
    monkeypatch.setattr(decontaminate, "CHUNK_PAIRS", 3)
    monkeypatch.setattr(decontaminate, "BLOCK_RECORDS", 3)
    assert [found(correlation) for correlation in (0.98, 0.96, 0.5, 0.0)] == [[1], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_looks_are_read_of_candidates_alone() -> None:
    asked: list[int] = []

    def thumbnails(places: np.ndarray) -> np.ndarray:
        asked.extend(places.tolist())
        return np.stack([RAMP] * len(places))

    contaminated(np.array([2**50 - 1, 0, 1, 2**50 - 1], np.uint64), thumbnails, images_of(["a"], [1], [RAMP]), 2, 0.9)
    assert asked == [1, 2]


def test_changed_copies_are_found_the_same_by_all_ways_of_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sharpened, of other contrast, and mirrored and small."""
    monkeypatch.setattr(text_tables, "ROWS_PER_SHARD", 2)
    pictures = [Image.fromarray(noise(seed, 96, 80)) for seed in range(6)]
    changed = {
        "one/0.png": pictures[0].filter(ImageFilter.UnsharpMask(3, 100, 0)),
        "one/1.png": pictures[1].point(lambda level: 40 + level // 2),
        "two/2.png": pictures[2].transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((48, 48)),
    }
    write_files(tmp_path / "set", {name: encoded(picture) for name, picture in changed.items()})
    path = table(
        tmp_path,
        [{"id": str(n), "image": f"{n}.png", "caption": f"finding {n}"} for n in range(6)],
        {f"{n}.png": encoded(picture) for n, picture in enumerate(pictures)},
    )
    made = {}
    for name, (workers, kept) in {"here": (0, False), "processes": (2, False), "kept": (0, True)}.items():
        settings = settings_for(path, decontaminate=[tmp_path / "set"], cache_shards=kept, max_rejected=0.6)
        found = removed(settings, tmp_path / name, Machine(workers=workers))
        told = {record: detail.rpartition(" from ")[2] for record, detail in found.items()}
        assert told == {"0": "set/one/0.png, as it is", "1": "set/one/1.png, as it is", "2": "set/two/2.png, mirrored"}
        made[name] = shard_digests(tmp_path / name), (tmp_path / name / "rejected.parquet").read_bytes()
    assert made["here"] == made["processes"] == made["kept"]


def test_of_folders_of_one_name_each_counts(tmp_path: Path) -> None:
    for name, seed in {"a": 0, "b": 1}.items():
        write_files(tmp_path / name / "test", {"0.png": encoded(noise(seed, 60, 60))})
    settings = settings_for(tmp_path, decontaminate=[tmp_path / "a/test", tmp_path / "b/test"])
    before = DecontaminationImages(settings).fingerprints()
    assert len(before) == 2
    for name in ("a", "b"):
        write_files(tmp_path / name / "test", {f"{name}.png": encoded(noise(2, 60, 60))})
        now = DecontaminationImages(settings).fingerprints()
        assert now != before
        before = now


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, decontaminate=[tmp_path / "nowhere"])
    with pytest.raises(DataError, match="nowhere: no such folder"):
        DecontaminationImages(settings).fingerprints()


@pytest.mark.slow
@needs_realdata
def test_copies_between_the_real_pairs_and_the_classification_sets_are_found(tmp_path: Path) -> None:
    """Eight brain slices are in both, seven of them mirrored or turned there, some sharpened, one as its neighbour; and
    a tile of lung tissue, turned and shifted. All were looked at.

    The CT covidct_0032 is as near to a blood cell by its hash as three of the slices to what they show.
    """
    source = {"kind": "table", "name": "real", "path": REALDATA / "pairs/pairs.jsonl"}
    sets = sorted(path for path in (REALDATA / "classify").iterdir() if path.is_dir())
    assert len(sets) == 8
    settings = CurateSettings.model_validate({"sources": [source], "decontaminate": sets})
    found = removed(settings, tmp_path / "out")
    told = {record: detail.rpartition(" from ")[2].removeprefix("mri_brain_tumor/") for record, detail in found.items()}
    assert told == {
        "braintumor_0000": "test/notumor/000.jpg, half turn",
        "braintumor_0001": "train/notumor/011.jpg, upside down",
        "braintumor_0003": "train/notumor/021.jpg, half turn",
        "braintumor_0005": "test/glioma/008.jpg, as it is",
        "braintumor_0011": "train/notumor/021.jpg, upside down",
        "braintumor_0012": "test/pituitary/008.jpg, mirrored",
        "braintumor_0014": "test/notumor/004.jpg, mirrored",
        "braintumor_0017": "train/notumor/002.jpg, mirrored",
        "lc25000_0010": "path_lung/val/lung_n/002.jpg, half turn",
    }
    assert found["braintumor_0005"].startswith("correlation 0.976, 6 bits ")
    cell = Image.open(REALDATA / "classify/blood_cells/train/wbc/022.jpg").convert("RGB")
    ct = Image.open(REALDATA / "pairs/images/covidct_0032.jpg").convert("RGB")
    assert np.bitwise_count(view_hashes(cell) ^ np.uint64(perceptual_hash(ct))).min() == 6
