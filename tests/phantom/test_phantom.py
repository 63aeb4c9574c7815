"""The embedded world: the same every time, described truthfully, and readable by the tools that train on it."""

import csv
import tomllib
from pathlib import Path

import numpy as np
import pytest

from mmkd.phantom.sampling import TRAITS, World, draw_pixels, draw_sample
from mmkd.phantom.table import MODALITIES, Finding, Modality
from mmkd.phantom.write import slug, write_classification, write_pairs, write_retrieval, write_tokenizer
from mmkd.randomness import generator

EVERY_MODALITY = tuple(MODALITIES)
EVERY_FINDING = [(modality, finding) for modality in MODALITIES.values() for finding in modality.findings]
FINDING_IDS = [f"{modality.id}-{slug(finding.name)}" for modality, finding in EVERY_FINDING]


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "pairs.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def drawings(finding: Finding, count: int, size: int = 32) -> np.ndarray:
    def draw(index: int) -> np.ndarray:
        rng = generator(0, "test", finding.name, index)
        return draw_pixels(finding, size, rng, rng.uniform(-1, 1, TRAITS).astype(np.float32))

    return np.stack([draw(index) for index in range(count)])


def test_the_world_has_nine_modalities_of_at_least_four_findings() -> None:
    nine = (
        *("x-ray", "fundus", "histopathology", "endoscopy", "ct", "mri"),
        *("ultrasound", "dermatology", "oct"),
    )
    assert nine == EVERY_MODALITY
    for modality in MODALITIES.values():
        wordings = [name for finding in modality.findings for name in finding.names]
        assert len(modality.findings) >= 4
        assert len(set(wordings)) == len(wordings)
        assert all(len(finding.names) >= 3 for finding in modality.findings)


@pytest.mark.parametrize("finding", [finding for _, finding in EVERY_FINDING], ids=FINDING_IDS)
@pytest.mark.parametrize("size", [32, 40])
def test_drawings_are_varied_and_neither_blank_nor_burnt_out(finding: Finding, size: int) -> None:
    images = drawings(finding, 4, size)
    assert images.shape == (4, size, size, 3)
    assert images.dtype == np.uint8
    assert images.std() > 10
    assert (images == 255).mean() < 0.5
    assert len({image.tobytes() for image in images}) == 4


@pytest.mark.parametrize("modality", MODALITIES.values(), ids=EVERY_MODALITY)
def test_findings_of_a_modality_look_different_on_average(modality: Modality) -> None:
    average = np.stack([drawings(finding, 40).mean(0) for finding in modality.findings])
    for first in range(len(average)):
        for second in range(first):
            assert np.abs(average[first] - average[second]).max() > 12, (first, second)


@pytest.mark.parametrize(("modality", "finding"), EVERY_FINDING, ids=FINDING_IDS)
def test_no_single_word_gives_a_finding_away(modality: Modality, finding: Finding) -> None:
    in_every_wording = set.intersection(*(set(name.split()) for name in finding.names))
    elsewhere = {
        word for other in modality.findings if other is not finding for name in other.names for word in name.split()
    }
    assert not in_every_wording - elsewhere


def test_equal_arguments_write_equal_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_pairs(tmp_path / name, World(("ct", "oct"), 3, "corpus", wrong_captions=0.5, size=24), 12)
        write_classification(tmp_path / name / "card", modality="mri", per_class=2, seed=3)
    assert bytes_below(tmp_path / "first") == bytes_below(tmp_path / "second")


def test_an_image_does_not_depend_on_how_many_were_drawn(tmp_path: Path) -> None:
    for count in (9, 20):
        write_pairs(tmp_path / str(count), World(EVERY_MODALITY, 1, "corpus"), count)
    few, many = bytes_below(tmp_path / "9"), bytes_below(tmp_path / "20")
    assert {name: many[name] for name in few if name != "pairs.csv"} == {
        name: data for name, data in few.items() if name != "pairs.csv"
    }
    assert rows_of(tmp_path / "20")[:9] == rows_of(tmp_path / "9")


def test_seed_and_purpose_separate_worlds() -> None:
    worlds = [World(("ct",), 0, "corpus"), World(("ct",), 1, "corpus"), World(("ct",), 0, "teacher")]
    assert len({draw_sample(world, 0).pixels.tobytes() for world in worlds}) == 3


def test_captions_name_the_modality_and_a_finding_of_it() -> None:
    world = World(EVERY_MODALITY, 0, "corpus", wrong_captions=0.5)
    for index in range(300):
        sample = draw_sample(world, index)
        modality = MODALITIES[sample.modality]
        assert any(name in sample.caption for name in modality.names), sample.caption
        assert any(name in sample.caption for finding in modality.findings for name in finding.names), sample.caption


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_wrong_captions_is_the_one_asked_for(share: float) -> None:
    world = World(("x-ray", "mri"), 0, "corpus", wrong_captions=share)
    right = [draw_sample(world, index).caption_is_right for index in range(1000)]
    expected = 1 - share * 3 / 4  # a random finding is the right one in one of four
    assert abs(np.mean(right) - expected) <= 0.05 * (share > 0)


def test_a_patient_has_one_modality_and_at_most_four_images() -> None:
    world = World(EVERY_MODALITY, 0, "corpus")
    samples = [draw_sample(world, index) for index in range(600)]
    groups: dict[str, list[str]] = {}
    for sample in samples:
        groups.setdefault(sample.group, []).append(sample.modality)
    assert all(len(set(seen)) == 1 and len(seen) <= 4 for seen in groups.values())
    assert len(groups) < 400
    assert {sample.modality for sample in samples} == set(EVERY_MODALITY)


def test_pairs_list_existing_images_and_no_truth(tmp_path: Path) -> None:
    write_pairs(tmp_path, World(("fundus",), 0, "corpus", wrong_captions=0.3), 5)
    rows = rows_of(tmp_path)
    assert list(rows[0]) == ["id", "image", "caption", "modality", "group"]
    assert [row["id"] for row in rows] == [f"corpus_{index:05d}" for index in range(5)]
    assert all((tmp_path / row["image"]).is_file() for row in rows)


@pytest.mark.parametrize("modality", MODALITIES.values(), ids=EVERY_MODALITY)
def test_a_classification_card_names_the_folders_written_beside_it(tmp_path: Path, modality: Modality) -> None:
    write_classification(tmp_path, modality=modality.id, per_class=2, seed=0, size=16)
    card = tomllib.loads((tmp_path / "card.toml").read_text(encoding="utf-8"))
    assert card["modality"] == modality.id
    assert card["tasks"] == ["zero_shot"]
    assert [entry["name"] for entry in card["classes"]] == [finding.name for finding in modality.findings]
    for entry in card["classes"]:
        assert len(list((tmp_path / card["layout"]["path"] / entry["folder"]).glob("*.png"))) == 2
        assert len(set(entry["prompts"])) >= 3


def test_retrieval_pairs_come_with_a_card(tmp_path: Path) -> None:
    write_retrieval(tmp_path, World(("ct", "mri"), 0, "retrieval"), 3)
    card = tomllib.loads((tmp_path / "card.toml").read_text(encoding="utf-8"))
    assert (card["tasks"], card["modality"]) == (["retrieval"], "mixed")
    assert card["layout"] == {"reader": "table", "path": "pairs.csv"}
    assert len(rows_of(tmp_path)) == 3


def test_unknown_modality_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no modality 'pet'.*x-ray"):
        write_pairs(tmp_path, World(("pet",), 0, "corpus"), 1)


def test_open_clip_reads_the_tokenizer_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from open_clip.tokenizer import HFTokenizer

    world = World(EVERY_MODALITY, 0, "corpus")
    captions = [draw_sample(world, index).caption for index in range(300)]
    write_tokenizer(tmp_path / "cased", captions, 400, lowercase=False)
    write_tokenizer(tmp_path / "lower", captions, 400, lowercase=True)
    cased, lower = (HFTokenizer(str(tmp_path / name), context_length=24) for name in ("cased", "lower"))
    tokens = lower(captions)
    assert tokens.shape == (300, 24)
    assert int(tokens.max()) < 400
    assert (tokens[:, 0] == 2).all()
    assert ((tokens == 3).sum(1) == 1).all()
    assert (lower("head CT") == lower("HEAD ct")).all()
    assert (cased("head CT") != cased("head ct")).any()
