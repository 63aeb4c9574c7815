"""Readers on real questions, survival tables and bags of tiles; the counts are those of shared/realdata/README.md."""

from pathlib import Path
from typing import Any

import pytest
from reader_cards import card

from mmkd.cards.readers.read import read_samples


def test_vqa_rad_is_whole(realdata: Path) -> None:
    tables = {split: realdata / "vqa" / f"vqa_rad_{split}.jsonl" for split in ("train", "test")}
    layout = {"reader": "table", "splits": tables, "columns": {"group": "image"}}
    samples = read_samples(card(layout, subgroups=["organ"]))
    tested = [sample for sample in samples if sample.split == "test"]
    assert (len(samples), len(tested)) == (3515, 451)
    assert len({sample.image for sample in samples}) == 314
    assert sum(sample.question is not None and sample.question.closed for sample in tested) == 272
    assert {sample.facts["organ"] for sample in samples} == {"HEAD", "CHEST", "ABD"}


@pytest.mark.parametrize(
    ("name", "slides", "patients", "events"),
    [
        ("tcga_blca_survpath", 423, 359, 156),
        ("tcga_brca_survpath", 931, 871, 102),
        ("tcga_coadread_survpath", 301, 298, 58),
        ("tcga_luad_mcat", 516, 453, 158),
        ("tcga_ucec_mcat", 539, 480, 75),
    ],
)
def test_survival_tables_count_slides_patients_and_events(
    realdata: Path, name: str, slides: int, patients: int, events: int
) -> None:
    layout: dict[str, Any] = {
        "reader": "table",
        "path": realdata / "survival" / f"{name}.csv",
        "columns": {"id": "slide_id", "group": "case_id", "time": "survival_months", "event": "censorship"},
        "censored": "1",
    }
    samples = read_samples(card(layout, covariates={"age": ["age"], "both": ["age", "is_female"]}))
    by_patient = {sample.group: sample.survival for sample in samples}
    assert (len(samples), len(by_patient)) == (slides, patients)
    assert sum(outcome is not None and outcome.event for outcome in by_patient.values()) == events
    assert set(samples[0].covariates) == {"age", "is_female"}


def test_bags_of_real_tiles(realdata: Path) -> None:
    layout = {"reader": "slides", "path": realdata / "wsi" / "lc25000_pseudoslides.jsonl", "columns": {"id": "bag_id"}}
    samples = read_samples(card(layout, [{"name": name} for name in ("lung_aca", "lung_scc", "lung_n")]))
    splits = [sample.split for sample in samples]
    assert [splits.count(split) for split in ("train", "val", "test")] == [12, 6, 6]
    assert {len(sample.images) for sample in samples} == {8}
    assert samples[0].images[0].read().mode == "RGB"


def test_folders_of_every_split_are_grouped(realdata: Path) -> None:
    folder = realdata / "classify" / "oct_retina"
    splits = {split: split for split in ("train", "val", "test")}
    layout = {"reader": "folders", "path": folder, "splits": splits, "groups": folder / "items.csv"}
    samples = read_samples(card(layout, [{"name": name} for name in ("CNV", "DME", "DRUSEN", "NORMAL")]))
    found = [sample.split for sample in samples]
    assert [found.count(split) for split in splits] == [100, 32, 68]
    groups = {split: {sample.group for sample in samples if sample.split == split} for split in splits}
    assert not groups["train"] & groups["test"]
