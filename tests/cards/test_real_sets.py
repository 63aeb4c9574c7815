"""Readers on real data sets; see shared/realdata/README.md, skipped where they are not there."""

import json
from pathlib import Path

import pytest

from mmkd.cards.card import Card
from mmkd.evaluation.data_sets.opened import DecodedImages, open_data_set

FACTS = {"modality": "other", "licence": "see LICENCES.md"}


@pytest.mark.parametrize("name", ["blood_cells", "mri_brain_tumor", "oct_retina", "path_lung", "xray_covid"])
def test_classification_sets_are_whole_grouped_and_readable(realdata: Path, name: str) -> None:
    folder = realdata / "classify" / name
    described = json.loads((folder / "classes.json").read_text())
    classes = [
        {"name": words, "folder": marker, "prompts": [described["prompt"].format(words)]}
        for marker, words in described["classes"].items()
    ]
    layout = {"reader": "folders", "path": folder / "test", "groups": folder / "items.csv"}
    opened = open_data_set(
        Card.model_validate({**FACTS, "id": name, "tasks": ["zero_shot"], "layout": layout, "classes": classes})
    )
    found = {c: sum(s.label == n for s in opened.samples) for n, c in enumerate(described["classes"])}
    assert found == described["counts"]["test"]
    assert all(sample.group for sample in opened.samples)
    assert DecodedImages(limit_mb=0).get(opened.samples[0].image).mode == "RGB"


def test_the_retrieval_set_keeps_source_captions_only(realdata: Path) -> None:
    layout = {
        "reader": "table",
        "path": realdata / "pairs" / "pairs.jsonl",
        "include": {"caption_kind": ["source"]},
        "columns": {"group": "case"},
    }
    opened = open_data_set(Card.model_validate({**FACTS, "id": "pairs", "tasks": ["retrieval"], "layout": layout}))
    assert len(opened.samples) == len(opened.texts) == 652
